from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, models, normalizers

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel
from compress.shaping.vocabulary import keep_tokens_
from tests.pruner.made import Contexts, Teachers
from tests.pruner.test_vocabulary import SPECIAL, moved_specials, vocabulary


@pytest.mark.parametrize("architecture", ["vit", "deit"])
def test_a_model_of_images_is_refused(architecture: str, teachers: Teachers) -> None:
    with pytest.raises(ConfigError, match="pruner=vocabulary needs a model that reads tokens, got"):
        vocabulary().check(teachers(architecture).module)


def test_what_check_refuses(teacher: CompressedModel, tmp_path: Path) -> None:
    assert vocabulary(general=1000).check(teacher.module) is teacher.module
    with pytest.raises(ConfigError, match="at most the 1000 tokens that there are, got 1001"):
        vocabulary(general=1001).check(teacher.module)
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")
    reasons = {"absent": "No such file", "empty": "it has none", "bytes": "invalid start byte"}
    for name, reason in reasons.items():
        with pytest.raises(ConfigError, match=rf"Vocabulary\.words must be .*{name}.*{reason}"):
            vocabulary(words=str(tmp_path / name)).check(teacher.module)


def test_other_tokenizers_are_refused(teacher: CompressedModel, context: Contexts) -> None:
    ctx = context(teacher)
    images = transformers.ViTImageProcessorPil()
    with pytest.raises(UserError, match="needs a fast tokenizer, got ViTImageProcessorPil"):
        vocabulary().prune(replace(teacher, tokenizer=images), ctx)
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(UserError, match="WordLevel tokenizer cannot be shrunk"):
        vocabulary().prune(replace(teacher, tokenizer=words), ctx)


def test_a_tokenizer_that_is_not_read_back_as_it_is_is_refused(
    teacher: CompressedModel, context: Contexts
) -> None:
    # Its class builds the normalizer anew from its own settings.
    tokenizer = transformers.BertTokenizer(
        {name: i for i, name in enumerate([*SPECIAL.values(), "[MASK]"])}
    )
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    with pytest.raises(UserError, match="BertTokenizer does not take a smaller vocabulary"):
        vocabulary().prune(replace(teacher, tokenizer=tokenizer), context(teacher))


def test_a_token_without_a_row_is_refused() -> None:
    with pytest.raises(UserError, match=r"has a token 20, but the embeddings .* only have 20 rows"):
        keep_tokens_(moved_specials("bert").module, {0: 0, 20: 1})


@pytest.mark.parametrize("change", [{"min_count": 0}, {"general": -1}, {"min_count": 1.5}])
def test_wrong_settings_are_refused(change: Mapping[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"Vocabulary\.{next(iter(change))} must be"):
        vocabulary(**change)
