"""Log-probabilities and ranks of given tokens, by transformers, on a CPU or a GPU.

In: rows of tokens, and from which on they are scored. Out: for each what the student thinks of every such token.
Rows of like length are computed together, padded on the right, where a causal model cannot see it. No more than
`batch_tokens` are computed at once, so that logits, of which there are as many as tokens times vocabulary, stay
small; a longer row goes through in pieces, with a cache of what was before. torch takes a thread for each core,
or as many as OMP_NUM_THREADS says.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mixdistill.builders.surprise import Row, Surprises
from mixdistill.builders.weights import Weights
from mixdistill.errors import MixdistillError
from mixdistill.scoring import Scoring

CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 8192
# Logits that are worked on at once, in single precision: 32 MB, which a cache of a processor can nearly hold.
_CHUNK_NUMBERS = 1 << 23


class TransformersScorer:
    """A student that transformers has loaded."""

    def __init__(self, model: Any, batch_tokens: int) -> None:
        self._model = model
        self._batch_tokens = batch_tokens
        # transformers calls what it keeps of a text `cache` since 5.24.
        known = inspect.signature(model.forward).parameters
        self._cache = "cache" if "cache" in known else "past_key_values"

    def score(self, rows: Sequence[Row]) -> Iterator[tuple[int, Surprises]]:
        """The number of each row with what the student thinks of it, as it comes: longest rows first.

        Raises MixdistillError if the device has not the memory, or the student cannot read a long row in pieces.
        """
        import torch

        try:
            for batch in batches([len(row.ids) for row in rows], self._batch_tokens):
                with torch.inference_mode():  # not around a yield: it would hold for the caller, too
                    found = self._score_together([rows[number] for number in batch])
                yield from zip(batch, found, strict=True)
        except torch.OutOfMemoryError as error:
            raise MixdistillError(
                f"the student does not fit into the memory of the device with mixing.scoring.batch_tokens="
                f"{self._batch_tokens}; lower it: scores that are there are kept"
            ) from error

    def _score_together(self, rows: Sequence[Row]) -> list[Surprises]:
        """What the student thinks of a batch; of one row that is longer than a batch in pieces."""
        import torch
        import transformers

        device = self._model.device
        width = max(len(row.ids) for row in rows)
        ids = torch.tensor([[*row.ids, *[row.ids[-1]] * (width - len(row.ids))] for row in rows], device=device)
        wanted = torch.zeros(ids.shape, dtype=torch.bool, device=device)
        for line, row in zip(wanted, rows, strict=True):
            line[row.first - 1 : len(row.ids) - 1] = True  # a token is foretold by the one before it
        targets = ids.roll(-1, dims=1)
        earliest = min(row.first for row in rows) - 1
        cache, logprobs, ranks = None, list[float](), list[int]()
        for start in range(0, width, self._batch_tokens):
            end = min(start + self._batch_tokens, width)
            kept = slice(min(max(start, earliest), end - 1), end)  # at least one, for nothing is a case of its own
            output = self._model(
                input_ids=ids[:, start:end], use_cache=width > self._batch_tokens, **{self._cache: cache},
                logits_to_keep=torch.arange(kept.start - start, end - start, device=device),
            )  # fmt: skip
            cache = output.get(self._cache)
            if cache is None and end < width:
                raise MixdistillError(
                    f"transformers {transformers.__version__} cannot read on with this student where it stopped; "
                    f"set mixing.scoring.batch_tokens to {width} or more"
                )
            found = _surprises(output.logits, targets[:, kept], wanted[:, kept])
            logprobs += found.logprobs
            ranks += found.ranks
        return _apart(rows, logprobs, ranks)


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """The numbers of rows of like length, longest first, that come to at most `batch_tokens` when they are padded.

    A longer row is alone.

    >>> list(batches([3, 9, 4, 4], 8))
    [[1], [2, 3], [0]]
    """
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    start = 0
    while start < len(order):
        end = start + max(1, batch_tokens // max(lengths[order[start]], 1))
        yield order[start:end]
        start = end


def _surprises(logits: Any, targets: Any, wanted: Any) -> Surprises:
    """What logits say of the targets that are wanted; a few of them at a time."""
    flat, targets = logits.flatten(0, 1), targets.flatten()
    step = max(1, _CHUNK_NUMBERS // flat.shape[-1])
    found = Surprises([], [])
    for places in wanted.flatten().nonzero()[:, 0].split(step):
        lines = flat[places].float()
        own = lines.gather(1, targets[places, None])
        found.logprobs.extend((own[:, 0] - lines.logsumexp(1)).tolist())
        found.ranks.extend(((lines > own).sum(1) + 1).tolist())
    return found


def _apart(rows: Sequence[Row], logprobs: list[float], ranks: list[int]) -> list[Surprises]:
    """What was said of all rows together, by row."""
    apart, start = [], 0
    for row in rows:
        end = start + len(row.ids) - row.first
        apart.append(Surprises(logprobs[start:end], ranks[start:end]))
        start = end
    return apart


@contextmanager
def open_transformers(weights: Weights, scoring: Scoring) -> Iterator[TransformersScorer]:
    """The student, loaded. Raises MixdistillError if that fails."""
    import safetensors
    import torch
    import transformers

    device = torch.device(device_name(scoring))
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()  # ours stands on the terminal
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            weights.name, revision=weights.revision, dtype=getattr(torch, dtype_name(scoring)),
            trust_remote_code=False,
        )  # fmt: skip
        model.to(device)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        told = " ".join(str(error).split())[:300]
        raise MixdistillError(f"mixing.student: {weights.name} cannot be loaded on {device}: {told}") from error
    default = CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS
    yield TransformersScorer(model, scoring.batch_tokens or default)


def device_name(scoring: Scoring) -> str:
    """The device of the recipe, or the best one of this machine."""
    import torch

    if scoring.device != "auto":
        return scoring.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_name(scoring: Scoring) -> str:
    """The number format of the recipe, or the one that fits the device."""
    if scoring.dtype != "auto":
        return scoring.dtype
    return "float32" if device_name(scoring) == "cpu" else "bfloat16"
