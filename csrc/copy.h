/* Copies between buffers. A hostile guest may let them overlap: then the bytes are its own mess, no more. */
#ifndef VDP_COPY_H
#define VDP_COPY_H

#include <stdint.h>
#include <string.h>

#include "cpu.h"

typedef uint8_t vdp_vec16 __attribute__((vector_size(16)));

/* A run of bytes that lie together in our address space. */
struct vdp_piece {
	uint8_t *addr;
	uint32_t length;
	uint64_t iova; /* of addr, where a device reached it */
};

static inline void vdp_copy16(uint8_t *dst, const uint8_t *src)
{
	vdp_vec16 v;

	__builtin_memcpy(&v, src, 16);
	__builtin_memcpy(dst, &v, 16);
}

static inline void vdp_copy32(uint8_t *dst, const uint8_t *src)
{
	vdp_copy16(dst, src);
	vdp_copy16(dst + 16, src + 16);
}

/*
 * Small frames are the common case and a call of memcpy costs more than they do: moves of fixed size, the
 * last one overlaps the one before.
 */
static inline void vdp_copy(uint8_t *dst, const uint8_t *src, uint32_t length)
{
	if (length < 16 || length > 256) {
		memmove(dst, src, length);
	} else if (length <= 32) {
		vdp_copy16(dst, src);
		vdp_copy16(dst + length - 16, src + length - 16);
	} else if (VDP_LIKELY(length <= 64)) {
		vdp_copy32(dst, src);
		vdp_copy32(dst + length - 32, src + length - 32);
	} else {
		for (uint32_t i = 0; i < length - 32; i += 32)
			vdp_copy32(dst + i, src + i);
		vdp_copy32(dst + length - 32, src + length - 32);
	}
}

/* Copy length bytes from one list of pieces to another; both hold at least so many. */
static inline void vdp_copy_pieces(const struct vdp_piece *dst, const struct vdp_piece *src, uint32_t length)
{
	uint32_t dst_at = 0, src_at = 0;

	while (length > 0) {
		uint32_t n = dst->length - dst_at;

		if (n > src->length - src_at)
			n = src->length - src_at;
		if (n > length)
			n = length;
		vdp_copy(dst->addr + dst_at, src->addr + src_at, n);
		length -= n;
		dst_at += n;
		src_at += n;
		if (dst_at == dst->length) {
			dst++;
			dst_at = 0;
		}
		if (src_at == src->length) {
			src++;
			src_at = 0;
		}
	}
}

#endif
