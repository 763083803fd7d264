"""
Finished trials on disk, so that an evaluation that was stopped goes on where it was.

    FOLDER/evaluation.json                    says what the folder is
    FOLDER/PIPELINE-VIDEO-KEY.score           one finished trial (`evaluation/video_score_file.py`)

A file appears whole or not at all. Its name ends in the trial's key, a digest of everything that
the result depends on: whatever was changed, a result of other circumstances is never found.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from vseg_ros.atomic import atomic_file, writing
from vseg_ros.errors import UserError
from vseg_ros.evaluation.trial import Trial
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.evaluation.video_score_file import DamagedScoreError, pack_score, unpack_score

ABOUT = 'evaluation.json'
_FORMAT = {'holds': 'finished trials of vseg evaluate', 'format': 1}

logger = logging.getLogger(__name__)


class RunFolder:
    """
    Scores of finished trials in a folder.

    Args:
        folder: made if it is not there, and gone on with if it is.

    Raises:
        UserError: it cannot be written, or holds other things.

    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        about = self.path / ABOUT
        with writing(about):
            if self._is_begun(about):
                return
            if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
                raise UserError(f'{self.path} holds other things than an evaluation: name a new '
                                'folder to keep finished trials in')
            self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(about) as temporary:
            temporary.write_text(json.dumps(_FORMAT) + '\n', encoding='utf-8')

    def _is_begun(self, about: Path) -> bool:
        """Return whether the folder is one of this form."""
        if not about.is_file():
            return False
        try:
            return bool(json.loads(about.read_bytes()) == _FORMAT)
        except ValueError:
            return False

    def read(self, trial: Trial) -> VideoScore | None:
        """
        Return the result of a trial, None if it is not there or damaged, which is logged.

        Raises:
            UserError: the file is there but may not be read.

        """
        path = self._file(trial)
        try:
            return unpack_score(path.read_bytes())
        except FileNotFoundError:
            return None
        except DamagedScoreError:
            logger.warning('%s is damaged: %s is done again', path, trial.title)
            return None
        except OSError as error:
            raise UserError(f'cannot read {path}: {error.strerror}; check its permissions, or '
                            'remove it to do it again') from error

    def write(self, trial: Trial, score: VideoScore) -> None:
        """
        Keep the result of a trial.

        Raises:
            UserError: it cannot be written.

        """
        with atomic_file(self._file(trial)) as temporary:
            temporary.write_bytes(pack_score(score))

    def _file(self, trial: Trial) -> Path:
        # The names are for people; the key alone tells trials apart.
        names = re.sub(r'[^\w.-]+', '_', f'{trial.variant.pipeline}-{trial.video.name}')[:80]
        return self.path / f'{names}-{trial.key}.score'
