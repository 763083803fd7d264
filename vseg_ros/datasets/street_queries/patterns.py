"""
How sentences are put together from patterns.

A pattern speaks of `{head}`, the noun with its colour, or of `{heads}`, its plural. A place is
said after it, and a request may stand around the whole. A pattern that is a question of its own
(it begins with 'which', 'who' or 'what') takes neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

QUESTIONS = ('which ', 'who ', 'what ')


@dataclass(frozen=True)
class Patterns:
    """
    The patterns of one split.

    Attributes:
        requests: what may stand around a reference, `{ref}`; the first is the reference alone.
        bare: references by noun alone, maybe with a colour.
        placed: the same where a place is said after them.
        colored: vehicles with a colour: of `{noun}` and `{color}`.
        dressed: people with a colour.
        places: by name of the place.
        clauses: by name of the clause; where they differ for a group of nouns, under the name
            and ' of a person', ' of a rider' or ' of a thing'.
        ranks: by name of the rank, in the same way.

    """

    requests: tuple[str, ...]
    bare: tuple[str, ...]
    placed: tuple[str, ...]
    colored: tuple[str, ...]
    dressed: tuple[str, ...]
    places: Mapping[str, tuple[str, ...]]
    clauses: Mapping[str, tuple[str, ...]]
    ranks: Mapping[str, tuple[str, ...]]

    def phrases(self) -> tuple[str, ...]:
        """Return everything that sentences are put together from."""
        lists = (self.requests, self.bare, self.placed, self.colored, self.dressed,
                 *self.places.values(), *self.clauses.values(), *self.ranks.values())
        return tuple(phrase for several in lists for phrase in several)

    def heads(self, group: str, colored: bool, alone: bool) -> tuple[str, ...]:
        """Return the ways to say noun and colour; of vehicles the short one if more is said."""
        if not colored:
            return ('{noun}',)
        if group == 'vehicle':
            return self.colored if alone else self.colored[:1]
        return self.dressed

    def of_group(self, table: Mapping[str, tuple[str, ...]], name: str,
                 group: str) -> tuple[str, ...]:
        """Return the patterns of a clause or rank for a group of nouns."""
        return table.get(f'{name} of a {group}', table[name])

    def references(self, table: Mapping[str, tuple[str, ...]], name: str, group: str,
                   place: str) -> tuple[str, ...]:
        """
        Return the references with a clause or rank.

        Args:
            table: `clauses` or `ranks`.
            name: of the clause or rank, '' for neither.
            group: of the noun.
            place: name of the place, '' for none.

        """
        plain = self.placed if place else self.bare
        chosen = self.of_group(table, name, group) if name else plain
        if not place:
            return chosen
        return tuple(f'{pattern} {where}' for pattern in chosen for where in self.places[place]
                     if not pattern.startswith(QUESTIONS))

    def fitting_requests(self, reference: str) -> tuple[str, ...]:
        """Return the requests that fit around a reference; the first is the reference alone."""
        return self.requests if reference.startswith(('the ', 'a ')) else self.requests[:1]
