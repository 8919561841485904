"""A model of images and text: what is trained, read and gated is its text alone."""

import torch
import toy
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from skunlearn.models.architecture import decoder_layers, text_decoder
from skunlearn.training.lora import LoraOptions, trained_layers, trained_modules, trained_parameters


def test_the_images_tower_is_left_alone():
    torch.manual_seed(0)
    text = {
        "vocab_size": 262,
        **toy.SIZE,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 512,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    for layers in (3, 5):  # as deep as the text, and deeper
        config = Gemma3Config(
            text_config=text, vision_config=vision | {"num_hidden_layers": layers}
        )
        model = Gemma3ForConditionalGeneration(config)
        assert len(decoder_layers(model)) == 3 and decoder_layers(model)[0] in list(
            text_decoder(model).modules()
        )
        assert trained_layers(model, LoraOptions()) == range(1, 3)
        names = trained_modules(model, LoraOptions())
        assert len(names) == 14 and all("language_model" in name for name in names)
        whole = trained_parameters(model, LoraOptions(mode="full", frozen=0))
        assert whole and not any("vision" in name or "projector" in name for name in whole)
