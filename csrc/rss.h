/* Receive-side scaling as the driver configured it. Ref: virtio 1.3, 5.1.6.5.7 */
#ifndef VDP_RSS_H
#define VDP_RSS_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"

#define VDP_RSS_TABLE 512u /* entries */

struct vdp_rss {
	bool steer;            /* RSS_CONFIG: by the table; else each frame stays with its pair */
	uint32_t types;        /* enum vdp_hash_type; the hash is reported where HASH_REPORT was negotiated */
	uint16_t mask;         /* entries of the table minus one: a power of two minus one */
	uint16_t unclassified; /* pair of frames without a hash */
	uint16_t table[512];   /* pairs */
	uint8_t key[40];       /* VDP_HASH_KEY */
	uint32_t tunnels;      /* enum vdp_tunnel_type: whose inner headers are hashed */
};

#endif
