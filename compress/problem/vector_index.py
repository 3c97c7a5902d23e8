"""How the vectors of documents are kept: fewer numbers of them, and in fewer bits.

The first numbers of a vector are kept, as after training for it (Kusupati et al., "Matryoshka
Representation Learning", arXiv:2205.13147). int8: each number as one of 256 between the smallest
and the largest of all documents. binary: signs; the best documents by equal signs are ranked again
by the products of the whole query with signs (Yamada et al., "Efficient Passage Retrieval with
Hashing for Open-domain Question Answering", arXiv:2106.00882, section 3.2). Queries are never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

Format: TypeAlias = Literal["float32", "int8", "binary"]
BITS = {"float32": 32, "int8": 8, "binary": 1}
LEVELS = 255
AGAIN = 4  # times as many documents as are wanted are ranked again
BYTE = 8


@dataclass(frozen=True)
class VectorIndex:
    """What is kept of a document's vector.

    Attributes:
        dimension: so many of its first numbers; null for all.
        format: of each number.
    """

    dimension: int | None = None
    format: Format = "float32"

    def first(self, vectors: Float[Tensor, "... D"]) -> Float[Tensor, "... kept"]:
        """The numbers of a vector that count."""
        return vectors[..., : self.dimension]

    def bytes_each(self, width: int) -> float:
        """Bytes of a document, whose vector has `width` numbers."""
        return min(self.dimension or width, width) * BITS[self.format] / BYTE

    def kept(self, documents: Float[Tensor, "rows kept"]) -> Float[Tensor, "rows kept"]:
        """Vectors as they come out of an index of all of these."""
        if self.format == "int8":
            low, high = documents.amin(dim=0), documents.amax(dim=0)
            step = ((high - low) / LEVELS).clamp(min=torch.finfo(documents.dtype).tiny)
            return low + ((documents - low) / step).round() * step
        return _signs(documents) if self.format == "binary" else documents

    def search(
        self,
        queries: Float[Tensor, "Q kept"],
        documents: Float[Tensor, "rows kept"],
        count: int,
        itself: Int[Tensor, " Q"] | None = None,
    ) -> Int[Tensor, "Q count"]:
        """The documents with the largest products, best first.

        Args:
            queries: whole.
            documents: as `kept` gives them.
            count: of documents for each query.
            itself: for each query a document that comes last; -1 for none.
        """
        products = queries @ documents.T
        if itself is not None:
            some = (itself >= 0).nonzero()[:, 0]
            products[some, itself[some]] = float("-inf")
        if self.format != "binary":
            return products.topk(count, dim=1).indices
        equal = (_signs(queries) @ documents.T).masked_fill(products.isneginf(), float("-inf"))
        near = equal.topk(min(AGAIN * count, len(documents)), dim=1).indices
        again = products.gather(1, near).topk(count, dim=1).indices
        return near.gather(1, again)


def _signs(vectors: Float[Tensor, "rows kept"]) -> Float[Tensor, "rows kept"]:
    return torch.where(vectors > 0, 1.0, -1.0)
