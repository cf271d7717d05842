/* encoder.h - the engine's face: what plugin/ may call. Knows no ABI type. */
#ifndef ENCODER_ENCODER_H
#define ENCODER_ENCODER_H

#include "base/memory.h"
#include "clip.h"
#include "pipeline/pipeline.h"
#include "session.h"
#include "text/tokenizer.h"
#include "tokenizer_place.h"

#endif
