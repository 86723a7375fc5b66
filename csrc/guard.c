#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/* The only process-wide state in csrc/: signal dispositions are process-wide too. */
static __thread sigjmp_buf guard_env;
static __thread volatile sig_atomic_t guard_armed;
static struct sigaction guard_previous;
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;
static int guard_rc;

static void guard_handler(int sig, siginfo_t *info, void *context)
{
	if (guard_armed && info->si_code <= 0)
		return; /* sent by somebody, not an access: only interrupts a system call (vdp_guard_poke) */
	if (guard_armed)
		siglongjmp(guard_env, 1);
	if (guard_previous.sa_flags & SA_SIGINFO) {
		guard_previous.sa_sigaction(sig, info, context);
	} else if (guard_previous.sa_handler != SIG_DFL && guard_previous.sa_handler != SIG_IGN) {
		guard_previous.sa_handler(sig);
	} else {
		signal(sig, SIG_DFL); /* the access is repeated and ends the process as it would have */
	}
}

static void guard_install_once(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = guard_handler;
	/* NODEFER: the handler is left by siglongjmp, which does not restore the mask. No RESTART: see poke.
	 */
	action.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigemptyset(&action.sa_mask);
	guard_rc = sigaction(SIGBUS, &action, &guard_previous) < 0 ? -errno : 0;
}

int vdp_guard_install(void)
{
	pthread_once(&guard_once, guard_install_once);
	return guard_rc;
}

sigjmp_buf *vdp_guard_arm(void)
{
	guard_armed = 1;
	return &guard_env;
}

void vdp_guard_disarm(void)
{
	guard_armed = 0;
}

void vdp_guard_poke(pthread_t thread)
{
	pthread_kill(thread, SIGBUS);
}
