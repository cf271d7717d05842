#!/usr/bin/env python3
"""Holds samples/diffusers_penult.py against diffusers' own pipelines, in TAP. Runs in the reference environment.

    test_diffusers.py [--small] [--plugin build/penult.so] [--work build/parity/diffusers] [--only TEXT] [--record]

Protects: that a StableDiffusionXLPipeline and a StableDiffusionPipeline, and those of them that begin with a picture, draw
with Penult in the place of their text encoders what they draw with their own, to 1 of 255; and that this would show: another
prompt, another layer, and each part of the conditioning by itself must change the picture by far more. UNet and VAE are tiny
and random; the towers have the full geometries of CLIP-L and bigG and CLIP's own vocabulary, with --small neither. Ends with
"N passed, N failed"; the exit status is 1 if anything failed. --record writes RESULTS-DIFFUSERS.md.
"""
import argparse
import pathlib
import shutil
import sys
import time
import zlib

import apart  # noqa: F401 - before transformers, which imports torchvision
import diffusers
import torch
import transformers
from diffusers.utils import logging

import clip_vocabulary
import compare
import diffusers_encoder
import diffusers_pictures as pictures
import diffusers_tensors
import towers
from plugin import penult
from report import versions
from transformers import CLIPTokenizer

sys.path.insert(0, str(towers.ROOT / "samples"))
import diffusers_host  # noqa: E402
import diffusers_tiny  # noqa: E402
from diffusers_penult import PenultTextEncoder, arguments  # noqa: E402

BOUND = 1        # of 255, between the two encoders' pictures
VISIBLE = 8      # of 255, that another conditioning must make at least
FACTOR = 100     # and by which it must move the latents more than the other encoder does
GIGABYTES = {True: 1, False: 4}  # of disk, by small or not


class Run:
    def __init__(self, options):
        self.options, self.count, self.failed, self.rows = options, 0, 0, []
        self.library = penult.Library(options.plugin)

    def check(self, name, passed, detail=""):
        if self.options.only not in name:
            return
        self.count += 1
        self.failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self.count} - diffusers: {name}{': ' + detail if detail else ''}", flush=True)

    # ---- the pipelines ----

    def tokenizers(self):
        if self.options.small:
            return diffusers_tiny.shipped_tokenizers()
        vocabulary = pathlib.Path(self.options.work).parent / "vocabulary"
        return [CLIPTokenizer.from_pretrained(clip_vocabulary.write(vocabulary, pad_token=pad)[0])
                for pad in (diffusers_tiny.END, "!")]

    def write(self, directory, make):
        """Drawing bigG takes minutes, so a pipeline is kept for as long as what draws it stays as it is."""
        drawn_by = (diffusers_tiny.__file__, diffusers_tiny.SHIPPED / "weights.py", clip_vocabulary.__file__)
        stamp, wanted = directory / "drawn", str(zlib.crc32(b"".join(pathlib.Path(path).read_bytes() for path in drawn_by)))
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if shutil.disk_usage(directory).free < GIGABYTES[self.options.small] << 30:
            raise SystemExit(f"{directory} has less than {GIGABYTES[self.options.small]} GiB of free disk")
        make(directory, small=self.options.small, tokenizers=self.tokenizers())
        stamp.write_text(wanted)

    def pair(self, kind, make):
        """(the directory, the pipeline with its own encoders, the same with Penult's)"""
        directory = pathlib.Path(self.options.work) / f"{make.__name__}{'-small' if self.options.small else ''}"
        self.write(directory, make)
        own = kind.pipeline.from_pretrained(directory, dtype=torch.float32)
        diffusers_host.lend_text_model(own.text_encoder)
        encoders = {tower: PenultTextEncoder(directory, tower=tower, library=self.library) for tower in kind.towers}
        ours = kind.pipeline(**{**own.components, **encoders}, **kind.options)
        for pipe in (own, ours):
            pipe.set_progress_bar_config(disable=True)
        return directory, own, ours

    # ---- what is compared ----

    def same(self, name, reference, other):
        """Whether two pictures are the same; returns their distance."""
        found = pictures.distance(reference, other)
        self.check(name, found.bits <= BOUND, str(found))
        self.rows.append((name, *found.cells()))
        return found

    def differs(self, name, reference, other, noise, least=VISIBLE):
        found = pictures.distance(reference, other)
        self.check(name, found.bits >= least and found.latents >= FACTOR * noise.latents, str(found))
        self.rows.append((name, *found.cells()))

    def kind(self, kind, make):
        began = time.monotonic()
        directory, own, ours = self.pair(kind, make)
        if self.options.small:  # nothing of it depends on the size
            diffusers_encoder.judge(self, kind, directory, own, ours)
        drawn, noise = {}, {}
        for title, call in kind.calls.items():
            drawn[title] = pictures.draw(own, call)
            noise[title] = self.same(f"{kind.name}, {title}", drawn[title], pictures.draw(ours, call))
        image, mask = pictures.first_picture()
        for title, sibling in kind.siblings.items():
            call = dict(prompt=pictures.CAT, negative_prompt=pictures.BLURRY, image=image, strength=0.9)
            call |= dict(mask_image=mask) if "inpaint" in title else {}
            pipes = [sibling(**pipe.components, **kind.options) for pipe in (own, ours)]
            for pipe in pipes:
                pipe.set_progress_bar_config(disable=True)
            self.same(f"{kind.name}, {title}", *(pictures.draw(pipe, call) for pipe in pipes))

        reference, noise = drawn["positive and negative"], noise["positive and negative"]
        for title in ("no negative", "clip_skip 1", "clip_skip 2", "without guidance"):
            if title == "no negative" and kind is pictures.SD1:
                continue
            self.differs(f"{kind.name}, another picture comes of: {title}", reference, drawn[title], noise)
        self.swapped(kind, own, reference, noise)
        self.given_arrays(kind, own, ours, reference)
        diffusers_tensors.judge(self, kind, directory, own, drawn)
        print(f"# {kind.name}: {time.monotonic() - began:.0f} s", flush=True)

    def swapped(self, kind, own, reference, noise):
        """Each part of the conditioning, taken from another prompt, changes the picture."""
        right, wrong = (self.tensors(kind, own, prompt) for prompt in (pictures.CAT, pictures.DOG))
        same = pictures.distance(reference, pictures.draw(own, right))
        self.check(f"{kind.name}, its own tensors draw its own picture", same.bits == 0, str(same))
        changes = {"conditioning": wrong}
        if kind is pictures.SDXL:
            width = own.text_encoder.config.hidden_size
            for title, columns in (("text_encoder", slice(0, width)), ("text_encoder_2", slice(width, None))):
                mixed = right["prompt_embeds"].clone()
                mixed[..., columns] = wrong["prompt_embeds"][..., columns]
                changes[f"hidden state of {title}"] = right | dict(prompt_embeds=mixed)
            changes["pooled vector"] = right | dict(pooled_prompt_embeds=wrong["pooled_prompt_embeds"])
        for part in [name for name in right if name.startswith("negative")]:
            changes[part] = right | {part: wrong[part]}
        for title, call in changes.items():
            self.differs(f"{kind.name}, another picture comes of another prompt's {title}", reference,
                         pictures.draw(own, call), noise)

    @staticmethod
    def tensors(kind, pipe, prompt):
        """What the pipeline's own encode_prompt makes of a prompt, under the names of its call; the negative is BLURRY's, or
        for another prompt than CAT UGLY's."""
        negative = pictures.BLURRY if prompt == pictures.CAT else pictures.UGLY
        with torch.no_grad():
            found = pipe.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True,
                                       negative_prompt=negative)
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        return dict(zip(names, found))

    def given_arrays(self, kind, own, ours, reference):
        """Named arrays in the place of prompts, for a pipeline without encoders of its own."""
        arrays = {name: tensor.numpy() for name, tensor in self.tensors(kind, ours, pictures.CAT).items()}
        bare = kind.pipeline(**{**own.components, **dict.fromkeys(kind.towers)}, **kind.options)
        bare.set_progress_bar_config(disable=True)
        self.same(f"{kind.name}, named arrays, and no encoder in the pipeline", reference,
                  pictures.draw(bare, arguments(bare, arrays)))
        try:
            arguments(bare, arrays | {"vector": arrays["prompt_embeds"]})
            self.check(f"{kind.name}, an array that the pipeline does not take", False, "was not refused")
        except ValueError as error:
            self.check(f"{kind.name}, an array that the pipeline does not take", "takes no vector" in str(error), str(error))

    def document(self):
        size = "small towers" if self.options.small else "the full geometries of CLIP-L and bigG"
        with penult.Model(diffusers_tiny.SHIPPED, library=self.library) as model:
            kernels = f"penult {self.library.version}: {model.info.kernels}"
        return "\n\n".join([
            "# The last run of diffusers' pipelines", f"Written by `test_diffusers.py --record`, with {size}; `README.md` says "
            "what is compared.", f"{kernels}; diffusers {diffusers.__version__}, {versions()}",
            f"{self.count - self.failed} passed, {self.failed} failed",
            "The largest difference between two pictures: in 8 bits, as floats from 0 to 1, and of the latents after the last "
            "step. First those of the pipeline's own encoders and of Penult's, then those that another conditioning makes.",
            compare.table(self.rows, ("what", "of 255", "floats", "latents"), rule="|")]) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Compares pictures of diffusers' pipelines with Penult's encoders and with "
                                     "their own.")
    build = towers.ROOT / "build"
    parser.add_argument("--small", action="store_true", help="small towers and the shipped vocabulary")
    parser.add_argument("--plugin", default=str(build / "penult.so"))
    parser.add_argument("--work", default=str(build / "parity" / "diffusers"), help="for the pipelines (2 GB)")
    parser.add_argument("--record", action="store_true", help="write RESULTS-DIFFUSERS.md")
    parser.add_argument("--only", default="", help="checks whose name has this in it")
    run = Run(parser.parse_args())
    if run.options.small:
        torch.set_num_threads(1)  # at these sizes a second one only waits
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for kind, make in ((pictures.SDXL, diffusers_tiny.make_sdxl), (pictures.SD1, diffusers_tiny.make_sd1)):
        run.kind(kind, make)
    if run.options.record:
        (pathlib.Path(__file__).parent / "RESULTS-DIFFUSERS.md").write_text(run.document(), encoding="utf-8")
    print(f"1..{run.count}")
    print(f"{run.count - run.failed} passed, {run.failed} failed")
    return 1 if run.failed or not run.count else 0


if __name__ == "__main__":
    sys.exit(main())
