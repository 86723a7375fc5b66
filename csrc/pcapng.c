#include "pcapng.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_SECTION    0x0a0d0d0au
#define BLOCK_INTERFACE  1u
#define BLOCK_STATISTICS 5u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define OPTION_USERAPPL  4u
#define OPTION_IF_NAME   2u
#define OPTION_TSRESOL   9u
#define OPTION_IFDROP    5u

static void add(struct vdp_pcapng *block, const void *data, uint32_t length)
{
	memcpy(block->data + block->length, data, length);
	block->length += (length + 3) & ~3u;
}

static void add_word(struct vdp_pcapng *block, uint32_t word)
{
	add(block, &word, sizeof(word));
}

static void add_option(struct vdp_pcapng *block, uint32_t code, const void *data, uint32_t length)
{
	add_word(block, length << 16 | code);
	add(block, data, length);
}

static void begin(struct vdp_pcapng *block, uint32_t type)
{
	memset(block, 0, sizeof(*block));
	add_word(block, type);
	add_word(block, 0); /* the length, by end */
}

static void end(struct vdp_pcapng *block)
{
	uint32_t total;

	add_word(block, 0); /* end of options */
	total = block->length + sizeof(total);
	add_word(block, total);
	memcpy(block->data + 4, &total, sizeof(total));
}

void vdp_pcapng_section(struct vdp_pcapng *ret)
{
	static const char name[] = "vfiodpa";
	uint64_t unknown = UINT64_MAX;

	begin(ret, BLOCK_SECTION);
	add_word(ret, BYTE_ORDER_MAGIC);
	add_word(ret, 1); /* version 1.0 */
	add(ret, &unknown, sizeof(unknown));
	add_option(ret, OPTION_USERAPPL, name, sizeof(name) - 1);
	end(ret);
}

void vdp_pcapng_interface(struct vdp_pcapng *ret, uint32_t pair)
{
	char name[16];
	int length = snprintf(name, sizeof(name), "pair%u", pair);

	begin(ret, BLOCK_INTERFACE);
	add_word(ret, 1); /* Ethernet */
	add_word(ret, 0); /* no limit of length */
	add_option(ret, OPTION_IF_NAME, name, (uint32_t)length);
	add_option(ret, OPTION_TSRESOL, "\x09", 1); /* nanoseconds */
	end(ret);
}

void vdp_pcapng_statistics(struct vdp_pcapng *ret, uint32_t pair, uint64_t now_ns, uint64_t dropped)
{
	begin(ret, BLOCK_STATISTICS);
	add_word(ret, pair);
	add_word(ret, (uint32_t)(now_ns >> 32));
	add_word(ret, (uint32_t)now_ns);
	add_option(ret, OPTION_IFDROP, &dropped, sizeof(dropped));
	end(ret);
}
