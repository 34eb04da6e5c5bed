"""Chat templates and plain token ids, the same for every engine that has the model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dear.engines import Message
from dear.errors import EngineError

# Llama 3's own format (llama.com, model cards), for bases whose tokenizer carries no template; BOS is written by `render_chat`
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def render_chat(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The exact prompt text: template applied, the assistant's turn opened, one BOS at the start where the family adds one.

    Raises `EngineError` where the tokenizer has no template and is not Llama 3's.
    """
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    else:
        text = _llama3(tokenizer, messages)
    bos = tokenizer.bos_token
    if bos and adds_bos(tokenizer):
        while text.startswith(bos):
            text = text[len(bos) :]
        text = bos + text
    return text


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer opens every text with BOS."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def encode_plain(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text as it stands: special tokens written in it are read, none is added."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def eos_ids(tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: end of text, and the families' end-of-turn tokens."""
    vocabulary = tokenizer.get_vocab()
    names = (tokenizer.eos_token, "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>")
    return frozenset(vocabulary[name] for name in names if name in vocabulary)


def _llama3(tokenizer: Any, messages: Sequence[Message]) -> str:
    if any(tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id) for token in _HEADERS):
        raise EngineError("the tokenizer has no chat template: use an instruction-tuned model, or save one beside it (chat_template.jinja)")
    start, end, turn = _HEADERS
    turns = [f"{start}{m['role']}{end}\n\n{m['content'].strip()}{turn}" for m in messages]
    return "".join(turns) + f"{start}assistant{end}\n\n"
