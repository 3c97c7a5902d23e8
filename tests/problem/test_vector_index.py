"""Vectors in an index: by hand, and beside sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers.util import quantize_embeddings

from compress.problem.embedding import TextSimilarity
from compress.problem.retrieval import NOTHING, Retrieval
from compress.problem.vector_index import Format, VectorIndex

DRAWN = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("format", "dimension", "expected"),
    [("float32", None, 1536), ("int8", None, 384), ("binary", None, 48), ("binary", 64, 8),
     ("float32", 500, 1536)],
)  # fmt: skip
def test_bytes_of_a_document(format: Format, dimension: int | None, expected: float) -> None:
    assert VectorIndex(dimension, format).bytes_each(384) == expected


def test_int8_is_within_half_a_step_of_each_number() -> None:
    vectors = torch.randn(50, 6, generator=DRAWN) * torch.arange(1, 7)
    found = VectorIndex(None, "int8").kept(vectors)
    step = (vectors.amax(dim=0) - vectors.amin(dim=0)) / 255
    assert ((found - vectors).abs() <= step / 2 + 1e-6).all()
    codes = ((found - vectors.amin(dim=0)) / step).round()
    # That library rounds down.
    theirs = quantize_embeddings(vectors.numpy(), "int8", calibration_embeddings=vectors.numpy())
    assert (np.abs(codes.numpy() - 128 - theirs) <= 1).all()
    constant = torch.ones(3, 2)
    assert torch.equal(VectorIndex(None, "int8").kept(constant), constant)


def test_signs_are_those_of_sentence_transformers() -> None:
    vectors = torch.randn(20, 16, generator=DRAWN)
    found = VectorIndex(None, "binary").kept(vectors)
    theirs = np.unpackbits(quantize_embeddings(vectors.numpy(), "ubinary"), axis=1)
    assert ((found.numpy() > 0) == theirs).all()


def test_near_documents_are_ranked_again_by_the_whole_query() -> None:
    documents = VectorIndex(None, "binary").kept(
        torch.tensor([[1.0, 1, -1, 1], [1, -1, 1, 1], [-1, -1, -1, -1]])
    )
    query = torch.tensor([[0.9, 0.1, 0.8, 0.2]])  # its signs agree with the first two alike
    assert VectorIndex(None, "binary").search(query, documents, 2).tolist() == [[1, 0]]
    many = torch.randn(200, 32, generator=DRAWN)
    index = VectorIndex(None, "binary")
    found = index.search(many[:5], index.kept(many), 10)
    exact = (many[:5] @ index.kept(many).T).topk(10).indices
    shared = (found[:, :, None] == exact[:, None]).any(dim=-1).float().mean()
    assert shared > 0.8


def test_an_index_is_of_compressed_models_alone() -> None:
    vectors = torch.randn(40, 2, 32, generator=DRAWN)
    labels = torch.randint(0, 6, (40,), generator=DRAWN).float()
    whole, small = (
        TextSimilarity(None, 1.0, index, 5.0) for index in (VectorIndex(), VectorIndex(8, "binary"))
    )
    assert small.of_baseline() == whole
    ours, theirs = small.evaluate(vectors, labels), whole.evaluate(vectors, labels)
    assert (ours.others["index_bytes"], theirs.others["index_bytes"]) == (1, 128)
    assert ours.value != theirs.value
    assert small.compare(vectors, vectors, labels).p_value < 1
    assert whole.compare(vectors, vectors, labels).p_value == 1
    assert small.digest == whole.digest  # rows and baselines are the same
    assert small.learned == "dimension=8" != whole.learned


def test_the_first_numbers_learn_what_whole_vectors_say() -> None:
    teacher = torch.randn(3, 2, 8, generator=DRAWN)
    student = torch.cat([torch.ones(3, 2, 2), teacher[..., 2:]], dim=-1)
    losses = [
        float(
            TextSimilarity(None, 1.0, VectorIndex(size), 5.0).distillation_loss(
                student, teacher, torch.zeros(3), 1.0
            )
        )
        for size in (None, 2)
    ]
    flat = torch.nn.functional.normalize(teacher.flatten(0, 1), dim=-1)
    more = float(((flat @ flat.T - 1) ** 2).mean())  # all first numbers are the same
    assert losses[1] - losses[0] == pytest.approx(more, rel=1e-5)


def test_documents_are_kept_and_queries_are_not() -> None:
    kept = torch.randn(12, 1, 16, generator=DRAWN)
    labels = torch.full((12, 4), NOTHING)
    labels[:, 0] = 0
    labels[0] = torch.tensor([1, NOTHING, 4, 1])
    found = {
        format: Retrieval(None, 1.0, VectorIndex(8, format), "cosine").evaluate(kept, labels)
        for format in ("float32", "int8", "binary")
    }
    assert [each.others["index_bytes"] for each in found.values()] == [32, 8, 1]
    vectors = torch.nn.functional.normalize(kept[:, 0, :8], dim=-1)
    order = (vectors[:1] @ vectors[1:].T).argsort(descending=True)[0].tolist()
    rank = order.index(4) + 1
    expected = 1 / np.log2(1 + rank) if rank <= 10 else 0
    assert found["float32"].value == pytest.approx(expected)
