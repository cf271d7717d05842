"""What diffusers' pipelines make of prompts: encode_prompt of each class, made from components with this run's encoders, and
what its UNet joins to the time embedding.

Owns which class and which of its results is which tensor. `Pipelines.tensors` has the answer for a Case by the plugin's names.
"""
import contextlib
import types
import warnings

import torch
from diffusers import (FluxPipeline, KandinskyV22PriorPipeline, StableCascadeDecoderPipeline, StableCascadePriorPipeline,
                       StableDiffusion3Pipeline, StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline,
                       StableDiffusionXLPipeline, UNet2DConditionModel)

T5_WIDTH = 4096  # of SD 3's context: joint_attention_dim


def tiny_unet(pooled_width, sizes):
    """Small but for the layer that takes the vector."""
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(32,), layers_per_block=1, down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",), mid_block_type=None, cross_attention_dim=32, attention_head_dim=8,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=pooled_width + 256 * sizes)


def aug_vector(unet, pooled, time_ids):
    """What goes into the UNet's add_embedding."""
    taken = []
    with unet.add_embedding.register_forward_pre_hook(lambda _module, inputs: taken.append(inputs[0])):
        unet.to(pooled.dtype).get_aug_embed(torch.zeros(1, 1, dtype=pooled.dtype), None, {"text_embeds": pooled, "time_ids": time_ids})
    return taken[0]


class Pipelines:
    """load(key) gives a tower's model in one dtype; tokenizer(pad) "end" or "zero"."""

    def __init__(self, load, tokenizer):
        self.load, self.tokenizer, self.made = load, tokenizer, {}

    def tensors(self, case):
        kind = case.recipe.partition("@")[0]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            found = getattr(self, kind.replace("-", "_").replace(".", "_"))(case)
        return {name: value for name, value in found.items() if value is not None}

    def pipeline(self, kind, make):
        if kind not in self.made:
            self.made[kind] = make()
        return self.made[kind]

    # ---- one method a recipe ----

    def _sd(self, case, encoder, pad):
        pipe = self.pipeline((case.recipe, id(encoder)), lambda: StableDiffusionPipeline(
            vae=None, text_encoder=encoder, tokenizer=self.tokenizer(pad), unet=None, scheduler=None, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False))
        positive, negative = pipe.encode_prompt(case.prompt, "cpu", 1, True, case.negative, clip_skip=case.clip_skip)
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative}

    def sd1(self, case):
        return self._sd(case, self.load("clip_l").text_model, "end")

    def sd2(self, case):
        return self._sd(case, self.load("clip_h_23"), "zero")

    def sdxl_pipeline(self):
        large = self.load("clip_g")
        return self.pipeline("sdxl", lambda: StableDiffusionXLPipeline(
            vae=None, text_encoder=self.load("clip_l").text_model, text_encoder_2=large, tokenizer=self.tokenizer("end"),
            tokenizer_2=self.tokenizer("zero"), unet=tiny_unet(large.config.projection_dim, 6), scheduler=None,
            add_watermarker=False))

    def sdxl(self, case):
        pipe = self.sdxl_pipeline()
        found = pipe.encode_prompt(case.prompt, case.prompt_2, "cpu", 1, True, case.negative, case.negative_2,
                                   clip_skip=case.clip_skip)
        return self.sdxl_sized(pipe, case, *found)

    @staticmethod
    def sdxl_sized(pipe, case, positive, negative, pooled, negative_pooled):
        """As StableDiffusionXLPipeline.__call__ goes on."""
        sizes, dtype, width = dict(case.sizes), pooled.dtype, pipe.text_encoder_2.config.projection_dim
        target = sizes.get("target_size", (1024, 1024))
        ids = pipe._get_add_time_ids(sizes.get("original_size", target), sizes.get("crop", (0, 0)), target, dtype, width)
        negative_ids = ids
        if "negative_original_size" in sizes:
            negative_ids = pipe._get_add_time_ids(sizes["negative_original_size"], sizes["negative_crop"],
                                                  sizes["negative_target_size"], dtype, width)
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative, "pooled_prompt_embeds": pooled,
                "negative_pooled_prompt_embeds": negative_pooled, "add_time_ids": ids, "negative_add_time_ids": negative_ids,
                "vector": aug_vector(pipe.unet, pooled, ids), "negative_vector": aug_vector(pipe.unet, negative_pooled, negative_ids)}

    def sdxl_refiner(self, case):
        large = self.load("clip_g")
        pipe = self.pipeline("refiner", lambda: StableDiffusionXLImg2ImgPipeline(
            vae=None, text_encoder=None, text_encoder_2=large, tokenizer=None, tokenizer_2=self.tokenizer("zero"),
            unet=tiny_unet(large.config.projection_dim, 5), scheduler=None, requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False, add_watermarker=False))
        found = pipe.encode_prompt(case.prompt, case.prompt_2, "cpu", 1, True, case.negative, case.negative_2,
                                   clip_skip=case.clip_skip)
        positive, negative, pooled, negative_pooled = found
        sizes = dict(case.sizes)
        original, crop = sizes.get("original_size", (1024, 1024)), sizes.get("crop", (0, 0))
        ids, negative_ids = pipe._get_add_time_ids(
            original, crop, sizes.get("target_size", original), sizes.get("aesthetic_score", 6.0),
            sizes.get("negative_aesthetic_score", 2.5), original, crop, original, pooled.dtype, large.config.projection_dim)
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative, "pooled_prompt_embeds": pooled,
                "negative_pooled_prompt_embeds": negative_pooled, "add_time_ids": ids, "negative_add_time_ids": negative_ids,
                "vector": aug_vector(pipe.unet, pooled, ids), "negative_vector": aug_vector(pipe.unet, negative_pooled, negative_ids)}

    def sd3(self, case):
        small = self.load("clip_l")
        pipe = self.pipeline("sd3", lambda: StableDiffusion3Pipeline(
            transformer=None, scheduler=None, vae=None, text_encoder=small, tokenizer=self.tokenizer("end"),
            text_encoder_2=self.load("clip_g"), tokenizer_2=self.tokenizer("zero"), text_encoder_3=None, tokenizer_3=None))
        # what it fills T5's place with when there is none
        pipe.__dict__["transformer"] = types.SimpleNamespace(config=types.SimpleNamespace(joint_attention_dim=T5_WIDTH))
        identity = "clip_l" in dict(case.files)
        with identity_projection(small) if identity else contextlib.nullcontext():
            positive, negative, pooled, negative_pooled = pipe.encode_prompt(
                case.prompt, case.prompt_2, None, "cpu", 1, True, case.negative, case.negative_2, clip_skip=case.clip_skip)
        return {"prompt_embeds": positive[:, :77], "negative_prompt_embeds": negative[:, :77], "pooled_prompt_embeds": pooled,
                "negative_pooled_prompt_embeds": negative_pooled}

    def flux(self, case):
        pipe = self.pipeline("flux", lambda: FluxPipeline(
            scheduler=None, vae=None, text_encoder=self.load("clip_l").text_model, tokenizer=self.tokenizer("end"),
            text_encoder_2=None, tokenizer_2=None, transformer=None))
        # encode_prompt calls this for its pooled vector, and T5 for the rest
        return {"pooled_prompt_embeds": pipe._get_clip_prompt_embeds(case.prompt),
                "negative_pooled_prompt_embeds": None if case.negative is None else pipe._get_clip_prompt_embeds(case.negative)}

    def _cascade(self, case, kind, **components):
        pipe = self.pipeline(kind, lambda: kind(tokenizer=self.tokenizer("end"), text_encoder=self.load("clip_g"), scheduler=None,
                                                **components))
        positive, pooled, negative, negative_pooled = pipe.encode_prompt("cpu", 1, 1, True, case.prompt, case.negative)
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative, "pooled_prompt_embeds": pooled[:, 0],
                "negative_pooled_prompt_embeds": negative_pooled[:, 0]}

    def cascade_prior(self, case):
        return self._cascade(case, StableCascadePriorPipeline, prior=None)

    def cascade_decoder(self, case):
        """Its __call__ takes the pooled vectors alone."""
        found = self._cascade(case, StableCascadeDecoderPipeline, decoder=None, vqgan=None)
        return {name: value for name, value in found.items() if "pooled" in name}

    def kandinsky2_2_prior(self, case):
        pipe = self.pipeline("kandinsky", lambda: KandinskyV22PriorPipeline(
            prior=None, image_encoder=None, text_encoder=self.load("clip_g"), tokenizer=self.tokenizer("end"), scheduler=None,
            image_processor=None))
        pooled, states, mask = pipe._encode_prompt(case.prompt, "cpu", 1, True, case.negative)
        return {"prompt_embeds": states[1:], "negative_prompt_embeds": states[:1], "pooled_prompt_embeds": pooled[1:],
                "negative_pooled_prompt_embeds": pooled[:1], "text_mask": mask[1:], "negative_text_mask": mask[:1]}


@contextlib.contextmanager
def identity_projection(model):
    """As diffusers' conversion of an SD 3 file writes CLIP-L."""
    linear = model.text_projection
    model.text_projection = torch.nn.Identity()
    try:
        yield
    finally:
        model.text_projection = linear
