/* A worker from outside: its beginning and end, and its pauses. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "guard.h"
#include "worker_impl.h"

/* A worker that does not come is thrown out of its system call after this. */
#define WORKER_POKE_NS 20000000u
#define WORKER_STACK   (256u * 1024)

static void worker_wake(struct vdp_worker *worker)
{
	uint64_t one = 1;
	ssize_t n = write(worker->wake_fd, &one, sizeof(one));

	(void)n; /* cannot fail but by a full counter, which wakes as well */
}

void vdp_worker_call(struct vdp_worker *worker, uint32_t attention)
{
	__atomic_fetch_or(&worker->attention, attention, __ATOMIC_RELEASE);
	worker_wake(worker);
}

static int worker_pin(pthread_attr_t *attr, uint32_t cpu)
{
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	size_t size = CPU_ALLOC_SIZE(cpu + 1);
	int rc;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	rc = -pthread_attr_setaffinity_np(attr, size, set);
	CPU_FREE(set);
	return rc;
}

static int worker_create(struct vdp_worker *worker, int32_t cpu)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	worker->attention = VDP_WORKER_PAUSE;
	worker->pauses = 1;
	rc = cpu >= 0 ? worker_pin(&attr, (uint32_t)cpu) : 0;
	/* Signals are Python's; those of a fault are ours and must not be blocked. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc == 0)
		rc = -pthread_create(&worker->thread, &attr, vdp_worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc < 0)
		return rc;
	pthread_setname_np(worker->thread, "vdp-worker");
	/* Not before its guard is armed may anybody poke it. */
	pthread_mutex_lock(&worker->lock);
	while (!worker->parked)
		pthread_cond_wait(&worker->changed, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
	vdp_worker_resume(worker);
	return 0;
}

static void worker_free(struct vdp_worker *worker)
{
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	if (worker->epoll_fd >= 0)
		close(worker->epoll_fd);
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker->scratch);
	free(worker->nics);
	free(worker->polled);
	free(worker->timed);
	free(worker);
}

static int worker_init_parts(struct vdp_worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = UINT64_MAX};
	pthread_condattr_t attr;

	pthread_mutex_init(&worker->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&worker->changed, &attr);
	pthread_condattr_destroy(&attr);
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	worker->scratch =
	    malloc(sizeof(*worker->scratch)); /* megabytes, but of pages that nobody has touched */
	if (worker->epoll_fd < 0 || worker->wake_fd < 0)
		return -errno;
	if (!worker->scratch)
		return -ENOMEM;
	return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0 ? -errno : 0;
}

int vdp_worker_init(struct vdp_worker **ret, int32_t cpu)
{
	struct vdp_worker *worker;
	int rc = vdp_guard_install();

	if (rc < 0)
		return rc;
	worker = aligned_alloc(VDP_CACHE_LINE, sizeof(*worker));
	if (!worker)
		return -ENOMEM;
	memset(worker, 0, sizeof(*worker));
	rc = worker_init_parts(worker);
	if (rc == 0)
		rc = worker_create(worker, cpu);
	if (rc < 0) {
		worker_free(worker);
		return rc;
	}
	*ret = worker;
	return 0;
}

/* The end of the next slice of a wait until until_ns, as condition variables and joins want it. */
static struct timespec worker_slice(clockid_t clock, uint64_t left_ns)
{
	uint64_t end = vdp_now_ns(clock) + (left_ns < WORKER_POKE_NS ? left_ns : WORKER_POKE_NS);

	return (struct timespec){(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
}

void vdp_worker_fini(struct vdp_worker *worker)
{
	struct timespec slice;

	if (!worker)
		return;
	vdp_worker_call(worker, VDP_WORKER_STOP);
	for (;;) {
		slice = worker_slice(CLOCK_REALTIME, WORKER_POKE_NS);
		if (pthread_timedjoin_np(worker->thread, NULL, &slice) == 0)
			break;
		vdp_guard_poke(worker->thread);
	}
	worker_free(worker);
}

int vdp_worker_pause(struct vdp_worker *worker, uint32_t timeout_ms)
{
	uint64_t until = vdp_now_ns(CLOCK_MONOTONIC) + timeout_ms * (uint64_t)1000000, now;
	struct timespec slice;
	int rc = 0;

	pthread_mutex_lock(&worker->lock);
	worker->pauses++;
	if (!worker->parked)
		vdp_worker_call(worker, VDP_WORKER_PAUSE);
	while (!worker->parked && (now = vdp_now_ns(CLOCK_MONOTONIC)) < until) {
		slice = worker_slice(CLOCK_MONOTONIC, until - now);
		/* A guest may have made its call fd blocking, and filled it. */
		if (pthread_cond_timedwait(&worker->changed, &worker->lock, &slice) == ETIMEDOUT)
			vdp_guard_poke(worker->thread);
	}
	if (!worker->parked)
		rc = -ETIMEDOUT;
	pthread_mutex_unlock(&worker->lock);
	if (rc < 0)
		vdp_worker_resume(worker);
	return rc;
}

void vdp_worker_resume(struct vdp_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	if (--worker->pauses == 0) {
		__atomic_fetch_and(&worker->attention, ~VDP_WORKER_PAUSE, __ATOMIC_RELAXED);
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
}
