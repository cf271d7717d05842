/* size_embedding.h - the numbers behind the pooled vector in SDXL's vector: sizes, crops and scores as sines and cosines.
 * Knows no recipe: recipes.h says which numbers, in which order.
 */
#ifndef ENCODER_CONDITION_SIZE_EMBEDDING_H
#define ENCODER_CONDITION_SIZE_EMBEDDING_H

#define SIZE_EMBEDDING 256

/* out[i] = cos(value * f(i)), out[128 + i] = sin(value * f(i)), f(i) = exp(-ln(10000) * i / 128): cosines first. In float32
 * up to the angle, as sgm's timestep_embedding (0ad7de9, sgm/modules/diffusionmodules/util.py) and diffusers'
 * get_timestep_embedding with flip_sin_to_cos and downscale_freq_shift 0 (58eb52c, models/embeddings.py) do it; f differs
 * from torch's in the last bit at most, which at 1024 moves a result by up to 0.0002. */
void size_embedding(float out[SIZE_EMBEDDING], float value);

#endif
