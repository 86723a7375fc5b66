#include "ledger.h"

#include <stdbool.h>
#include <string.h>

void vdp_ledger_init(struct vdp_ledger *ledger, uint64_t first)
{
	ledger->next = first;
	ledger->missing = 0;
	/* What lies before the first number was never sent: as if it had been seen. */
	memset(ledger->bits, 0xff, sizeof(ledger->bits));
}

static uint64_t *word(struct vdp_ledger *ledger, uint64_t sequence)
{
	return &ledger->bits[sequence % VDP_LEDGER_BITS / 64];
}

static void set(struct vdp_ledger *ledger, uint64_t sequence)
{
	*word(ledger, sequence) |= 1ull << sequence % 64;
}

static bool seen(struct vdp_ledger *ledger, uint64_t sequence)
{
	return *word(ledger, sequence) >> sequence % 64 & 1;
}

static void open_gap(struct vdp_ledger *ledger, uint64_t first, uint64_t length)
{
	if (length >= VDP_LEDGER_BITS) {
		memset(ledger->bits, 0, sizeof(ledger->bits));
		return;
	}
	for (uint64_t i = first; i < first + length; i++)
		*word(ledger, i) &= ~(1ull << i % 64);
}

int vdp_ledger_see(struct vdp_ledger *ledger, uint64_t sequence)
{
	if (sequence >= ledger->next) {
		uint64_t gap = sequence - ledger->next;

		if (gap)
			open_gap(ledger, ledger->next, gap);
		ledger->missing += gap;
		set(ledger, sequence);
		ledger->next = sequence + 1;
		return VDP_LEDGER_IN_ORDER;
	}
	if (ledger->next - sequence > VDP_LEDGER_BITS || seen(ledger, sequence))
		return VDP_LEDGER_TWICE;
	set(ledger, sequence);
	ledger->missing--;
	return VDP_LEDGER_LATE;
}
