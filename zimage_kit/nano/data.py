"""Scenes by the thousand: worker processes draw pictures and write captions while a GPU trains.

Every chunk is a function of its index, so a piece of training sees the same scenes again when it is run again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.shared_memory import SharedMemory
from queue import Empty
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zimage_kit.nano import captions, scenes
from zimage_kit.nano.lexicon import BACKGROUNDS, COLOURS, FACING, FACING_POSES, HOURS, KINDS, POSES, STYLES

CHUNK = 16
CAPTIONS = 6  # three in each language
PROMPT_TOKENS = 128
COLUMNS = 4
LABELS = len(KINDS) * COLUMNS + len(KINDS) * len(COLOURS) + 4
ORPHANED = 5.0  # seconds between looks at whether training still runs, while there is nothing to draw
PREFIX, SUFFIX = "<|im_start|> ", "<|im_end|>"


@dataclass(frozen=True)
class Chunk:
    """Scenes of one size, `CHUNK` of them as `chunk` draws them.

    Pictures (n, h, w, 3) uint8, token ids (n, captions, 128) int16, labels (n, LABELS).
    """

    bucket: int
    pictures: NDArray[np.uint8]
    tokens: NDArray[np.int16]
    labels: NDArray[np.float32]


def labels_of(scene: scenes.Scene) -> NDArray[np.float32]:
    """Return what a judge has to find: a row a kind, (kind, colour) pairs, the rest.

    A kind's row is (count, x in 0..1, log2 of the extent, facing: 1 right, 0 left). Unknown positions, extents and
    facings (none of the kind, two that differ, or a kind that faces no way) are -9. The last four numbers are the
    indices of background, style, pose and hour (-1: nobody there, or two people who do different things; a background
    without an hour).
    """
    kinds, colours = list(KINDS), list(COLOURS)
    table = np.full((len(kinds), COLUMNS), -9.0, np.float32)
    table[:, 0] = 0
    pairs = np.zeros((len(kinds), len(colours)), np.float32)
    for thing in scene.things:
        k = kinds.index(thing.kind)
        table[k, 0] += 1
        single = table[k, 0] == 1
        table[k, 1] = thing.x / scene.width if single else -9
        table[k, 2] = np.log2(thing.extent / min(scene.width, scene.height)) if single else -9
        pairs[k, colours.index(thing.colour)] = 1
        faces = {float(not other.flip) for other in scene.things if other.kind == thing.kind and facing(other)}
        table[k, 3] = faces.pop() if len(faces) == 1 else -9
    poses = {thing.pose for thing in scene.things if thing.kind == "person"}
    pose = list(POSES).index(next(iter(poses))) if len(poses) == 1 and "" not in poses else -1
    hour = list(HOURS).index(scene.hour) if scenes.has_hour(scene.background, scene.style) else -1
    rest = (list(BACKGROUNDS).index(scene.background), list(STYLES).index(scene.style), pose, hour)
    return np.concatenate((table.ravel(), pairs.ravel(), np.array(rest, np.float32)))


def facing(thing: scenes.Thing) -> bool:
    """Tell whether a thing faces left or right."""
    return thing.kind in FACING or thing.pose in FACING_POSES


def chunk(index: int, tokenizer: Any, pad: int) -> Chunk:
    """Draw chunk `index`; `tokenizer` is a `tokenizers.Tokenizer` and `pad` its padding id."""
    rng = np.random.default_rng((index, 11))
    bucket = int(rng.choice(len(scenes.SIZES), p=scenes.SIZE_SHARES))
    width, height = scenes.SIZES[bucket]
    pictures = np.empty((CHUNK, height, width, 3), np.uint8)
    tokens = np.empty((CHUNK, CAPTIONS, PROMPT_TOKENS), np.int16)
    labels = np.empty((CHUNK, LABELS), np.float32)
    for i in range(CHUNK):
        scene = scenes.sample(index * CHUNK + i, size=(width, height))
        pictures[i] = np.asarray(scenes.render(scene))
        labels[i] = labels_of(scene)
        tell = [captions.english] * (CAPTIONS // 2) + [captions.chinese] * (CAPTIONS // 2)
        tokens[i] = tokens_of((told(scene, rng) for told in tell), rng, tokenizer, pad)
    return Chunk(bucket, pictures, tokens, labels)


def tokens_of(told: Iterable[str], rng: np.random.Generator, tokenizer: Any, pad: int) -> NDArray[np.int16]:
    """Return the token ids (captions, 128) of a scene's captions, the last of each language now and then stuffed."""
    tokens = np.full((CAPTIONS, PROMPT_TOKENS), pad, np.int16)
    for j, text in enumerate(told):
        if j in (2, 5) and rng.random() < 0.25:
            text = captions.stuffed(text, rng)
        ids = tokenizer.encode(PREFIX + text.lower().strip() + SUFFIX).ids[:PROMPT_TOKENS]
        tokens[j, : len(ids)] = ids
    return tokens


Draw = Callable[[int, Any, int], Chunk]
"""From a chunk's index, a `tokenizers.Tokenizer` and its padding id to the chunk; a function of a module."""


def _work(
    first: int, step: int, draw: Draw, name: str, slot_bytes: int, free: Any, full: Any, tokenizer_file: str, pad: int
) -> None:
    from tokenizers import Tokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(tokenizer_file)
    memory = SharedMemory(name=name)
    index = first
    while True:
        try:
            slot = free.get(timeout=ORPHANED)
        except Empty:
            parent = parent_process()
            if parent is None or not parent.is_alive():  # killed before it could close the stream
                full.cancel_join_thread()  # nobody reads any more
                return
            continue
        made = draw(index, tokenizer, pad)
        flat = np.ndarray(made.pictures.size, np.uint8, memory.buf, slot * slot_bytes)
        flat[:] = made.pictures.ravel()
        full.put((slot, made.bucket, made.pictures.shape, made.tokens, made.labels))
        index += step


class Stream:
    """Chunks `first`, `first` + 1, … (about in this order) from `workers` processes, for ever. Close it to end them.

    `draw` makes a chunk; its pictures may fill as much as `room` times `CHUNK` pictures of 256x256 pixels.
    """

    def __init__(
        self, workers: int, tokenizer_file: str, pad: int, first: int = 0, draw: Draw = chunk, room: int = 1
    ) -> None:
        context = get_context("spawn")
        self.slot_bytes, slots = room * CHUNK * 256 * 256 * 3, workers * max(2, 6 // room)
        self.memory = SharedMemory(create=True, size=self.slot_bytes * slots)
        self.free, self.full = context.Queue(), context.Queue()
        for slot in range(slots):
            self.free.put(slot)
        about = (workers, draw, self.memory.name, self.slot_bytes, self.free, self.full, tokenizer_file, pad)
        self.crew = [context.Process(target=_work, args=(first + i, *about), daemon=True) for i in range(workers)]
        for process in self.crew:
            process.start()

    def take(self, wait: bool = True) -> Chunk | None:
        """Return the next chunk; without `wait`, None when none is ready. Raises RuntimeError where a process died."""
        while True:
            try:
                slot, bucket, shape, tokens, labels = self.full.get(timeout=2) if wait else self.full.get_nowait()
                break
            except Empty:
                if ended := [process.exitcode for process in self.crew if not process.is_alive()]:
                    raise RuntimeError(f"a drawing process ended with {ended[0]}: its own message is above") from None
                if not wait:
                    return None
        view = np.ndarray(shape, np.uint8, self.memory.buf, slot * self.slot_bytes)
        made = Chunk(bucket, view.copy(), tokens, labels)
        self.free.put(slot)
        return made

    def close(self) -> None:
        """End the processes and give the memory back; closing twice is harmless."""
        if not self.crew:
            return
        for process in self.crew:
            process.terminate()
        self.crew = []
        self.memory.close()
        self.memory.unlink()
