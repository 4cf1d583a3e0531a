/* Makes a process unkillable for as long as this one runs, as a driver call stuck in the kernel does.
 *
 * A tracer that asked for PTRACE_O_TRACEEXIT is told when the process is about to exit, before the
 * kernel has taken its files from it, and holds it there: SIGKILL has been delivered, and still the
 * process keeps its pipes, its sockets and its place in the process table (ptrace(2)).
 *
 * Usage: unkillable PID. Says "holding" once it does; ended, it lets the process go.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: unkillable PID\n");
        return 2;
    }
    pid_t pid = (pid_t)atoi(argv[1]);
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACEEXIT) != 0) {
        perror("ptrace");
        return 1;
    }
    printf("holding\n");
    fflush(stdout);
    for (;;) {
        int status;
        if (waitpid(pid, &status, __WALL) != pid) {
            return 0;
        }
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            return 0;
        }
        int event = status >> 16;
        if (event == PTRACE_EVENT_EXIT) {
            pause();
        } else if (event == PTRACE_EVENT_STOP) {
            ptrace(PTRACE_LISTEN, pid, NULL, NULL);
        } else {
            ptrace(PTRACE_CONT, pid, NULL, (void *)(long)WSTOPSIG(status));
        }
    }
}
