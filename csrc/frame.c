#include "frame.h"

#include <endian.h>
#include <string.h>

#define MAGIC        0x61706476u
#define AT_ETHERTYPE 12u
#define AT_SUM       14u
#define AT_COVERED   22u
#define AT_FLOW      26u
#define AT_SEQUENCE  30u
#define AT_SIZE      38u
#define AT_PATTERN   42u
#define STAMP_EVERY  64u

/* Odd, with bits everywhere; the value of the golden ratio. */
#define FACTOR 0x9e3779b97f4a7c15ull

static uint64_t load64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void store64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void store32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static uint32_t load32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint16_t ethertype(const uint8_t *frame)
{
	return (uint16_t)(frame[AT_ETHERTYPE] << 8 | frame[AT_ETHERTYPE + 1]);
}

/* The last, incomplete word, as if zeroes followed; there are at least 8 bytes before its end. */
static uint64_t load_last(const uint8_t *end, uint32_t bytes)
{
	return le64toh(load64(end - 8)) >> (64 - 8 * bytes);
}

/* Four lanes, so that four multiplications are under way at a time. At least 8 bytes. */
uint64_t vdp_frame_sum(const uint8_t *data, uint32_t length)
{
	uint64_t a = 0, b = 0, c = 0, d = 0;
	uint32_t at = 0;

	for (; at + 32 <= length; at += 32) {
		a = a * FACTOR + load64(data + at);
		b = b * FACTOR + load64(data + at + 8);
		c = c * FACTOR + load64(data + at + 16);
		d = d * FACTOR + load64(data + at + 24);
	}
	a = a * 0xff51afd7ed558ccdull + b * 0xc4ceb9fe1a85ec53ull + c * 0x94d049bb133111ebull +
	    d * 0xbf58476d1ce4e5b9ull;
	for (; at + 8 <= length; at += 8)
		a = a * FACTOR + load64(data + at);
	if (at < length)
		a = a * FACTOR + load_last(data + length, length - at);
	return a;
}

void vdp_frame_prepare(uint8_t *frame, uint32_t size, uint32_t flow, const uint8_t *dst, const uint8_t *src)
{
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	frame[AT_ETHERTYPE] = VDP_FRAME_ETHERTYPE >> 8;
	frame[AT_ETHERTYPE + 1] = VDP_FRAME_ETHERTYPE & 0xff;
	store32(frame + AT_COVERED, MAGIC);
	store32(frame + AT_FLOW, flow);
	for (uint32_t i = AT_PATTERN; i < size; i++)
		frame[i] = (uint8_t)(i * 167 + (i >> 8));
}

/* Stamps lie at covered words 1, 9, 17, ...: whole words of the sum, which is what keeps it linear. */
static void stamp(uint8_t *frame, uint32_t size, uint64_t sequence)
{
	for (uint32_t at = AT_SEQUENCE; at + 8 <= size; at += STAMP_EVERY)
		store64(frame + at, sequence);
}

void vdp_frame_shape_init(struct vdp_frame_shape *ret, uint8_t *scratch, uint32_t size)
{
	uint32_t covered = size - AT_COVERED;

	ret->size = size;
	store32(scratch + AT_SIZE, size);
	stamp(scratch, size, 0);
	ret->base = vdp_frame_sum(scratch + AT_COVERED, covered);
	stamp(scratch, size, 1);
	ret->gain = vdp_frame_sum(scratch + AT_COVERED, covered) - ret->base;
}

void vdp_frame_number(uint8_t *frame, const struct vdp_frame_shape *shape, uint64_t sequence)
{
	store32(frame + AT_SIZE, shape->size);
	stamp(frame, shape->size, sequence);
	store64(frame + AT_SUM, shape->base + sequence * shape->gain);
}

int vdp_frame_check(const uint8_t *frame, uint32_t length, uint32_t *flow, uint64_t *sequence)
{
	if (length < AT_ETHERTYPE + 2 || ethertype(frame) != VDP_FRAME_ETHERTYPE)
		return VDP_FRAME_FOREIGN;
	if (length < VDP_FRAME_MIN || load32(frame + AT_COVERED) != MAGIC ||
	    load32(frame + AT_SIZE) != length)
		return VDP_FRAME_CORRUPT;
	*flow = load32(frame + AT_FLOW);
	*sequence = load64(frame + AT_SEQUENCE);
	if (vdp_frame_sum(frame + AT_COVERED, length - AT_COVERED) != load64(frame + AT_SUM))
		return VDP_FRAME_CORRUPT;
	return VDP_FRAME_GOOD;
}

int vdp_frame_check_generated(const uint8_t *frame, uint32_t length, uint64_t *sequence)
{
	if (length < AT_ETHERTYPE + 2 || ethertype(frame) != VDP_GENERATED_ETHERTYPE)
		return VDP_FRAME_FOREIGN;
	if (length < VDP_FRAME_MIN)
		return VDP_FRAME_CORRUPT;
	*sequence = be64toh(load64(frame + AT_SUM));
	return VDP_FRAME_GOOD;
}
