"""What compel makes of prompts, over diffusers' pipelines of this run: CompelForSDXL, CompelForSD and Compel.

compel weights in float32 in either run, as it does for everybody. Import `apart` first.
"""
import contextlib
import io

import torch
from compel import Compel
from compel.convenience_wrappers import CompelForSD, CompelForSDXL


class Compels:
    def __init__(self, pipelines):
        self.pipelines = pipelines

    def tensors(self, case):
        kind = {"sdxl@compel": self.sdxl, "sd1@diffusers": self.sd1}[case.recipe]
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            found = kind(case)
        return {name: value for name, value in found.items() if value is not None}

    def sdxl(self, case):
        pipe = self.pipelines.sdxl_pipeline()
        made = CompelForSDXL(pipe)(case.prompt, case.prompt_2, case.negative, case.negative_2)
        # goes to the pipeline, which knows what an absent negative prompt is
        found = pipe.encode_prompt(None, device="cpu", do_classifier_free_guidance=True, prompt_embeds=made.embeds,
                                   pooled_prompt_embeds=made.pooled_embeds, negative_prompt_embeds=made.negative_embeds,
                                   negative_pooled_prompt_embeds=made.negative_pooled_embeds)
        return self.pipelines.sdxl_sized(pipe, case, *found)

    def sd1(self, case):
        encoder, tokenizer = self.pipelines.load("clip_l").text_model, self.pipelines.tokenizer("end")
        negative = "" if case.negative is None else case.negative
        if dict(case.options).get("split"):
            pipe = type("Components", (), dict(tokenizer=tokenizer, text_encoder=encoder))
            made = CompelForSD(pipe)(case.prompt, negative)
            return {"prompt_embeds": made.embeds, "negative_prompt_embeds": made.negative_embeds}
        compel = Compel(tokenizer=tokenizer, text_encoder=encoder)
        positive, negative = compel.pad_conditioning_tensors_to_same_length([compel(case.prompt), compel(negative)])
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative}
