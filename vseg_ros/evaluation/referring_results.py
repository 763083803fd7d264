"""
Answers on disk, in the folders that the evaluation servers accept.

    FOLDER/Annotations/VIDEO/EXPRESSION/FRAME.png     255 on the object, 0 elsewhere, one channel
    FOLDER/answers.json                               what the answers are of, and by what
    FOLDER/submission.zip                             once all are there

An expression's folder appears whole or not at all, so that a run that was stopped goes on where
it was: what is there is read, not asked again. `answers.json` keeps the answers of different
models apart.

The servers of Ref-YouTube-VOS and of MeViS want the same images of every frame that the list of
expressions names, but in the archive Ref-YouTube-VOS wants the folder `Annotations` above the
videos and MeViS wants the videos at the top. The released evaluations of Ref-DAVIS17 and ReVOS
read the folders themselves, as `Annotations` holds them; their archive is as for MeViS.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vseg_ros.atomic import AtomicOutput, atomic_file, writing
from vseg_ros.datasets.referring import ReferringClip
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray
from vseg_ros.io.image_folder import read_labels

ANNOTATIONS = 'Annotations'
ARCHIVE = 'submission.zip'
ABOUT = 'answers.json'

_TOP = {'ref-youtube-vos': f'{ANNOTATIONS}/', 'ref-davis17': '', 'mevis': '', 'revos': ''}
"""What stands above the videos in the archive of each format."""


class AnswerFolder:
    """
    Masks of expressions in a folder.

    Args:
        folder: made if it is not there, and gone on with if it is.
        format: that of the data set, a key of those that have result folders.
        about: what the answers are of and by what, such as the settings; must be the same
            whenever the folder is gone on with.

    Raises:
        UserError: the format has no result folder, the folder cannot be written, holds other
            things, or was begun with another `about`.

    """

    def __init__(self, folder: str | Path, format: str, about: Mapping[str, Any]) -> None:
        if format not in _TOP:
            raise UserError(f'there is no result folder for {format}: its scores are computed '
                            'here, leave --submission away')
        self.path = Path(folder)
        self._top = _TOP[format]
        self._annotations = self.path / ANNOTATIONS
        self._check(json.loads(json.dumps({'format': format, **about})))

    def _check(self, about: dict[str, Any]) -> None:
        path = self.path / ABOUT
        if path.is_file():
            try:
                begun = json.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                raise UserError(f'cannot read {path} ({type(error).__name__}): choose another '
                                'folder for the answers') from error
            different = [key for key in about if not isinstance(begun, dict)
                         or begun.get(key) != about[key]]
            if different:
                raise UserError(f'{self.path} holds answers with another '
                                f'{", ".join(different)}: choose another folder, or remove it')
            return
        with writing(self.path):
            if self.path.is_dir() and any(self.path.iterdir()):
                raise UserError(f'{self.path} is a folder of other things: choose a new one for '
                                'the answers')
            self._annotations.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + '\n', encoding='utf-8')

    def has(self, clip: ReferringClip) -> bool:
        """Return whether an expression has a mask for every frame."""
        return all(path.is_file() for path in self._files(clip))

    def read(self, clip: ReferringClip) -> BoolArray:
        """
        Read the masks of an expression, bool [T, H, W].

        Raises:
            UserError: one is missing, damaged or of another size.

        """
        masks = [read_labels(path) > 0 for path in self._files(clip)]
        if len({mask.shape for mask in masks}) > 1:
            raise UserError(f'the answers in {self._folder(clip)} have several sizes: remove the '
                            'folder')
        return np.stack(masks)

    def write(self, clip: ReferringClip, masks: BoolArray) -> None:
        """
        Write the masks of an expression, all or none of them.

        Args:
            clip: the expression.
            masks: bool [T, H, W], one a frame.

        Raises:
            UserError: they cannot be written.

        """
        folder = self._folder(clip)
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        output = AtomicOutput(folder, folder=True)
        try:
            with writing(folder):
                output.temporary.mkdir()
                for path, mask in zip(self._files(clip), masks, strict=True):
                    _, data = cv2.imencode('.png', mask.astype(np.uint8) * 255)
                    (output.temporary / path.name).write_bytes(data.tobytes())
            output.commit()
        except BaseException:
            output.discard()
            raise

    def archive(self, clips: Iterable[ReferringClip]) -> Path:
        """
        Write the archive for the server, of these expressions and nothing else.

        Raises:
            UserError: a mask is missing, or the archive cannot be written.

        """
        path = self.path / ARCHIVE
        with atomic_file(path) as temporary, zipfile.ZipFile(temporary, 'w') as archive:
            for clip in clips:
                for file in self._files(clip):
                    name = file.relative_to(self._annotations).as_posix()
                    # Without the time of day two archives of the same answers are equal.
                    archive.writestr(zipfile.ZipInfo(f'{self._top}{name}'), file.read_bytes())
        return path

    def _folder(self, clip: ReferringClip) -> Path:
        return self._annotations / clip.name / clip.expression_id

    def _files(self, clip: ReferringClip) -> list[Path]:
        folder = self._folder(clip)
        return [folder / f'{name}.png' for name in clip.frame_names]
