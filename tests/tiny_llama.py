"""Tiny random LLaMA checkpoints with a real tokenizer, in every way a checkpoint can be stored."""

from __future__ import annotations

import json
from pathlib import Path

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin|>")
SENTENCES = [
    "query: why is the sky blue document: Light Short waves of sunlight scatter most in clear air",
    "Passage: the sea is deep and salt water covers most of the earth. Question: how deep is the sea? Reply with Yes or No.",
    "Ranking: [1] > [2] > [3] > [4] > [5] > [6] > [7] > [8] > [9] > [10]",
]


def save_tokenizer(folder: Path, *, bos: bool = False, pad: bool = True, template: bool = True) -> object:
    """A small byte-level BPE; `bos` opens every text (and each side of a pair) with BOS, as Llama 3's tokenizer does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if bos:
        begin = SPECIAL[3]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A {begin}:1 $B:1", special_tokens=[(begin, tokenizer.token_to_id(begin))]
        )
    names = {"bos_token": SPECIAL[3] if bos else SPECIAL[1], "eos_token": SPECIAL[2]} | ({"pad_token": SPECIAL[2]} if pad else {})
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.chat_template = CHAT if template else None
    fast.save_pretrained(folder)
    return fast


def save_llama(folder: Path, *, head: str = "vocabulary", layers: int = 2, seed: int = 0, tied: bool = True, **tokenizer: bool) -> Path:
    """A random LLaMA (hidden 64) with a vocabulary or a score head, in safetensors; weights are large enough to make scores differ."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    fast = save_tokenizer(folder, **tokenizer)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.15,
        tie_word_embeddings=tied,
        num_labels=1,
        pad_token_id=fast.pad_token_id,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
    )
    kind = LlamaForSequenceClassification if head == "score" else LlamaForCausalLM
    kind(config).save_pretrained(folder)
    return folder


def save_lora(folder: Path, base: Path, *, head: str, layers: int | None = None, seed: int = 1, card: dict | None = None) -> Path:
    """A random LoRA adapter (none of its matrices zero) on `base`, with `dear.json` beside it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    from dear.weights import base_digest

    config = AutoConfig.from_pretrained(base)
    config.num_labels = 1
    config.num_hidden_layers = layers or config.num_hidden_layers
    kind = AutoModelForSequenceClassification if head == "score" else AutoModelForCausalLM
    model = kind.from_pretrained(base, config=config, dtype=torch.float32)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    task = {"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if head == "score" else {"task_type": "CAUSAL_LM"}
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=names, **task))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3 if "score" in name else 0.1)
    model.save_pretrained(folder)
    written = {"base_sha256": base_digest(base), "stage": "pointwise" if head == "score" else "listwise", "layers": layers}
    (folder / "dear.json").write_text(json.dumps({k: v for k, v in (written | (card or {})).items() if v is not None}))
    return folder
