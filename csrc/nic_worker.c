/* A NIC as its worker sees it: poll, rest, wake; and as control does: pause. */
#include <errno.h>
#include <sys/epoll.h>

#include "nic_impl.h"

#define NIC_START_MS 5000u  /* a worker polls for microseconds */
#define NIC_LOOK_NS  50000u /* between two looks at the doorbell pages */

int vdp_nic_watch(struct vdp_nic *nic, int fd, uint32_t queue)
{
	struct epoll_event event = {
	    .events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)nic->slot << 32 | queue};

	return epoll_ctl(nic->worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void vdp_nic_unwatch(struct vdp_nic *nic, int fd)
{
	if (fd >= 0)
		epoll_ctl(nic->worker->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* The first error stops all queues; the register model learns of it and says DEVICE_NEEDS_RESET. */
void vdp_nic_report(struct vdp_nic *nic)
{
	struct vdp_queue *queue = nic->queues + nic->error.queue;
	uint64_t one = 1;

	nic->wake_ns = UINT64_MAX;
	vdp_count(&queue->stats.errors, 1);
	pthread_mutex_lock(&nic->lock);
	nic->reported = nic->error;
	pthread_mutex_unlock(&nic->lock);
	if (nic->config_call_fd >= 0 && write(nic->config_call_fd, &one, sizeof(one)) < 0)
		return; /* a full counter wakes as well */
}

void vdp_nic_memory_gone(struct vdp_nic *nic)
{
	vdp_ring_fail(&nic->queues[nic->serving].ring, VDP_NIC_MEMORY_GONE, 0);
	vdp_nic_report(nic);
}

static void nic_inject(struct vdp_nic *nic)
{
	struct vdp_inject *inject = __atomic_load_n(&nic->inject, __ATOMIC_ACQUIRE);

	if (!inject || __atomic_load_n(&inject->state, __ATOMIC_ACQUIRE) != VDP_INJECT_FULL)
		return;
	if (nic->port->inject && inject->pair < nic->active_pairs) {
		nic->scratch->src[1] = (struct vdp_piece){.addr = inject->frame, .length = inject->length};
		nic->scratch->frame = (struct vdp_net_hdr){0};
		nic->port->inject(nic, nic->pairs + inject->pair, inject->length);
	}
	__atomic_store_n(&inject->state, VDP_INJECT_FREE, __ATOMIC_RELEASE);
}

static void nic_mind_kick(struct vdp_nic *nic, struct vdp_queue *queue, bool on)
{
	if (!queue->live)
		return;
	nic->serving = queue->ring.index;
	nic->net->notify(&queue->ring, on);
}

/* Ask the driver for notifications, or not. Receive buffers matter only to a port that waits for them. */
static void nic_mind_kicks(struct vdp_nic *nic, bool on)
{
	for (uint32_t i = 0; i < nic->active_pairs; i++) {
		struct vdp_pair *pair = nic->pairs + i;

		nic_mind_kick(nic, pair->tx, on);
		nic_mind_kick(nic, pair->rx, on && pair->rx_starved);
		if (nic->port->asleep)
			nic->port->asleep(nic, pair, on);
	}
}

static bool nic_waiting(struct vdp_nic *nic, struct vdp_queue *queue)
{
	if (!queue->live)
		return false;
	nic->serving = queue->ring.index;
	return nic->net->moved(&queue->ring);
}

/* Is there something to do now, or (in *due_ns) at a later time? */
static bool nic_has_work(struct vdp_nic *nic, uint64_t now_ns, uint64_t *due_ns)
{
	*due_ns = nic->calm ? vdp_nic_next_due(nic) : UINT64_MAX;
	for (uint32_t i = 0; i < nic->active_pairs; i++) {
		struct vdp_pair *pair = nic->pairs + i;

		if (pair->tx_blocked || nic_waiting(nic, pair->tx))
			return true;
		if (nic->port->waiting && nic->port->waiting(nic, pair))
			return true;
		if (pair->rx_starved) {
			if (nic_waiting(nic, pair->rx))
				return true;
		} else if (nic->port->generates && pair->rx->live) {
			if (pair->next_ns <= now_ns)
				return true;
			if (pair->next_ns < *due_ns)
				*due_ns = pair->next_ns;
		}
	}
	return false;
}

/* Was the queue's doorbell rung by a store to its page? Nobody else writes VDP_PAGE_QUIET: no queue has that
 * number. */
static bool nic_page_rung(struct vdp_nic *nic, struct vdp_queue *queue)
{
	uint32_t *page = vdp_nic_page(nic, queue->ring.index);

	if (!queue->live || VDP_LIKELY(__atomic_load_n(page, __ATOMIC_RELAXED) == VDP_PAGE_QUIET))
		return false;
	/* Before the ring is looked at: a store that comes later must be found the next time. */
	__atomic_exchange_n(page, VDP_PAGE_QUIET, __ATOMIC_SEQ_CST);
	vdp_count(&queue->stats.page_kicks, 1);
	return true;
}

static bool nic_pages_rung(struct vdp_nic *nic)
{
	bool rung = false;

	for (uint32_t i = 0; i < nic->active_pairs; i++) {
		rung |= nic_page_rung(nic, nic->pairs[i].tx);
		rung |= nic_page_rung(nic, nic->pairs[i].rx);
	}
	return rung;
}

/* When to look again without an event: a store to a page wakes nobody, a generator has its own time. */
static void nic_set_alarm(struct vdp_nic *nic, uint64_t now_ns)
{
	nic->wake_ns = nic->due_ns;
	if (nic->conf.pages && nic->wake_ns - now_ns > NIC_LOOK_NS)
		nic->wake_ns = now_ns + NIC_LOOK_NS;
}

bool vdp_nic_due(struct vdp_nic *nic, uint64_t now_ns)
{
	if ((nic->conf.pages && nic_pages_rung(nic)) || nic->due_ns <= now_ns)
		return true;
	nic_set_alarm(nic, now_ns);
	return false;
}

/* Nothing to do: sleep (true), unless there is something after all. */
static bool nic_rest(struct vdp_nic *nic, uint64_t now_ns)
{
	nic_mind_kicks(nic, true);
	/* The driver must see that we want to be kicked before we look for the last time. Ref: 2.7.10 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!nic_has_work(nic, now_ns, &nic->due_ns) && nic->error.code == VDP_NIC_OK) {
		nic_set_alarm(nic, now_ns);
		return true;
	}
	if (nic->error.code == VDP_NIC_OK)
		nic_mind_kicks(nic, false);
	return false;
}

bool vdp_nic_idle(struct vdp_nic *nic)
{
	uint64_t now = vdp_now_ns(CLOCK_MONOTONIC);

	if (nic->idle_since_ns == 0)
		nic->idle_since_ns = now;
	return now - nic->idle_since_ns >= nic->conf.poll_us * (uint64_t)1000 && nic_rest(nic, now);
}

void vdp_nic_welcome(struct vdp_nic *nic)
{
	/* Rings may be new, and we are going to poll them. */
	nic_mind_kicks(nic, false);
	nic_inject(nic);
}

/* What control asks for */

int vdp_nic_start(struct vdp_nic *nic)
{
	int rc = 0;

	nic->worker = nic->conf.worker;
	nic->own_worker = !nic->worker;
	if (nic->own_worker)
		rc = vdp_worker_init(&nic->worker, nic->conf.cpu);
	if (rc < 0)
		return rc;
	nic->scratch = nic->worker->scratch;
	rc = vdp_worker_pause(nic->worker, NIC_START_MS);
	if (rc == 0) {
		nic->pause_depth = 1;
		rc = vdp_worker_add(nic->worker, nic);
		if (rc < 0)
			vdp_nic_resume(nic);
	}
	if (rc < 0 && nic->own_worker)
		vdp_worker_fini(nic->worker);
	return rc;
}

void vdp_nic_stop(struct vdp_nic *nic)
{
	if (nic->pause_depth == 0)
		vdp_worker_pause(nic->worker, UINT32_MAX);
	for (uint32_t i = 0; i < nic->conf.pairs * 2; i++) {
		vdp_nic_unwatch(nic, nic->queues[i].kick_fd);
		vdp_nic_unwatch(nic, nic->queues[i].doorbell_fd);
	}
	vdp_worker_remove(nic->worker, nic);
	vdp_worker_resume(nic->worker);
	if (nic->own_worker)
		vdp_worker_fini(nic->worker);
}

int vdp_nic_pause(struct vdp_nic *nic, uint32_t timeout_ms)
{
	int rc = 0;

	if (nic->pause_depth == 0)
		rc = vdp_worker_pause(nic->worker, timeout_ms);
	nic->pause_depth += rc == 0;
	return rc;
}

void vdp_nic_resume(struct vdp_nic *nic)
{
	if (nic->pause_depth == 0 || --nic->pause_depth > 0)
		return;
	/* Nobody may forget this: a stale translation would reach memory that is not the guest's any more. */
	if (nic->dma && vdp_dma_generation(nic->dma) != nic->dma_generation)
		vdp_nic_refresh(nic);
	nic->idle_since_ns = 0;
	nic->wake_ns = UINT64_MAX;
	if (vdp_nic_serves(nic))
		vdp_worker_poll(nic->worker, nic);
	else
		vdp_worker_rest(nic->worker, nic);
	vdp_worker_resume(nic->worker);
}

uint64_t vdp_tsc_hz(void)
{
	struct timespec wait = {.tv_nsec = 10000000};
	uint64_t ticks = vdp_tsc(), ns = vdp_now_ns(CLOCK_MONOTONIC_RAW);

	nanosleep(&wait, NULL);
	ns = vdp_now_ns(CLOCK_MONOTONIC_RAW) - ns;
	ticks = vdp_tsc() - ticks;
	return (uint64_t)((double)ticks * 1e9 / (double)ns);
}
