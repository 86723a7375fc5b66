/* Which sequence numbers arrived: new, late or twice. */
#ifndef VDP_LEDGER_H
#define VDP_LEDGER_H

#include <stdint.h>

#define VDP_LEDGER_BITS 65536u /* numbers older than this count as seen twice */

enum vdp_ledger_verdict { VDP_LEDGER_IN_ORDER, VDP_LEDGER_LATE, VDP_LEDGER_TWICE };

struct vdp_ledger {
	uint64_t next;    /* highest number seen plus one */
	uint64_t missing; /* gaps that are open */
	uint64_t bits[VDP_LEDGER_BITS / 64];
};

void vdp_ledger_init(struct vdp_ledger *ledger, uint64_t first);
int vdp_ledger_see(struct vdp_ledger *ledger, uint64_t sequence); /* enum vdp_ledger_verdict */

#endif
