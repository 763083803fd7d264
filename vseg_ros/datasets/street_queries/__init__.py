"""Sentences about clips of the synthetic street: which one thing each means, or none."""

from vseg_ros.datasets.street_queries.baselines import largest_moving, random_instance
from vseg_ros.datasets.street_queries.draw import draw_queries
from vseg_ros.datasets.street_queries.facts import ClipFacts, ThingFacts, clip_facts
from vseg_ros.datasets.street_queries.grammar import KINDS, NO_MATCH, StreetQuery
from vseg_ros.datasets.street_queries.words import split_words, vocabulary

__all__ = ['KINDS', 'NO_MATCH', 'ClipFacts', 'StreetQuery', 'ThingFacts', 'clip_facts',
           'draw_queries', 'largest_moving', 'random_instance', 'split_words', 'vocabulary']
