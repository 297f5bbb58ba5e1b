/* Getting foreign code executed: by exec, by mapping, by writing into what is mapped already. */
#include "attack.h"

#include <linux/fsverity.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

extern char **environ;

enum verdict execve_check(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = open_needed(name, argv[0]);
    char *const arguments[] = {argv[0], NULL};
    return report(name, "execveat", syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH | AT_EXECVE_CHECK));
}

/* Runs the descriptor in a child; whether the exec itself worked comes back through a pipe. */
static enum verdict exec_descriptor(const char *name, int fd, char *title) {
    int result[2];
    need(name, "pipe", pipe2(result, O_CLOEXEC));
    fflush(stdout);
    pid_t child = fork();
    need(name, "fork", child);
    if (child == 0) {
        char *const arguments[] = {title, NULL};
        fcntl(fd, F_SETFD, 0); /* the interpreter of a script opens it again */
        syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH);
        int error = errno;
        _exit(write(result[1], &error, sizeof error) < 0);
    }
    close(result[1]);
    int error = 0;
    int failed = read(result[0], &error, sizeof error) == sizeof error ? -1 : 0;
    waitpid(child, NULL, 0);
    errno = error;
    return report(name, "exec", failed);
}

enum verdict exec_file(const char *name, int argc, char **argv) {
    (void)argc;
    return exec_descriptor(name, open_needed(name, argv[0]), argv[0]);
}

enum verdict memfd_exec(const char *name, int argc, char **argv) {
    (void)argc;
    size_t size;
    char *bytes = read_file(name, argv[0], &size);
    static const struct { const char *step; unsigned flags; } ways[] = {{"memfd-exec", MFD_EXEC}, {"memfd", 0}};
    enum verdict verdict = REFUSED;
    for (int i = 0; i < 2; i++) {
        int fd = memfd_create("attack", ways[i].flags);
        if (report(name, ways[i].step, fd) == REFUSED)
            continue;
        need(name, "write", write(fd, bytes, size) == (ssize_t)size ? 0 : -1);
        report(name, "fchmod", fchmod(fd, 0755));
        /* A descriptor open for writing would be refused for that reason alone. */
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int reading = open_needed(name, path);
        close(fd);
        if (exec_descriptor(name, reading, argv[0]) == WORKED)
            verdict = WORKED;
        close(reading);
    }
    return verdict;
}

enum verdict enable_verity(const char *name, int argc, char **argv) {
    (void)argc;
    struct fsverity_enable_arg how = {.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096};
    return report(name, "enable", ioctl(open_needed(name, argv[0]), FS_IOC_ENABLE_VERITY, &how));
}

enum verdict mmap_exec(const char *name, int argc, char **argv) {
    (void)argc;
    void *map = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open_needed(name, argv[0]), 0);
    return report(name, "mmap", map == MAP_FAILED ? -1 : 0);
}

enum verdict mprotect_exec(const char *name, int argc, char **argv) {
    (void)argc;
    void *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open_needed(name, argv[0]), 0);
    need(name, "mmap", map == MAP_FAILED ? -1 : 0);
    return report(name, "mprotect", mprotect(map, 4096, PROT_READ | PROT_EXEC));
}

enum verdict private_mapping(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = open_needed(name, argv[0]);
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    need(name, "mmap", map == MAP_FAILED ? -1 : 0);
    map[0] ^= 1;
    enum verdict later = report(name, "mprotect", mprotect(map, 4096, PROT_READ | PROT_EXEC));
    void *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 0);
    enum verdict at_once = report(name, "mmap-write-exec", both == MAP_FAILED ? -1 : 0);
    return later == WORKED || at_once == WORKED ? WORKED : REFUSED;
}

enum verdict anonymous_exec(const char *name, int argc, char **argv) {
    (void)argc, (void)argv;
    unsigned char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(name, "mmap", map == MAP_FAILED ? -1 : 0);
    map[0] = 0xc3;
    enum verdict later = report(name, "mprotect", mprotect(map, 4096, PROT_READ | PROT_EXEC));
    void *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    enum verdict at_once = report(name, "mmap-write-exec", both == MAP_FAILED ? -1 : 0);
    return later == WORKED || at_once == WORKED ? WORKED : REFUSED;
}

/* The text that is to be changed. */
__attribute__((noinline)) static int answer(void) {
    __asm__ volatile("");
    return 42;
}

static pid_t sleeping_child(const char *name) {
    fflush(stdout);
    pid_t child = fork();
    need(name, "fork", child);
    if (child == 0)
        for (;;)
            pause();
    return child;
}

enum verdict ptrace_poketext(const char *name, int argc, char **argv) {
    (void)argc, (void)argv;
    pid_t child = sleeping_child(name);
    enum verdict verdict = report(name, "attach", ptrace(PTRACE_ATTACH, child, NULL, NULL));
    if (verdict == WORKED) {
        waitpid(child, NULL, 0);
        verdict = report(name, "poketext", ptrace(PTRACE_POKETEXT, child, (void *)(uintptr_t)answer, (void *)0xc3));
    }
    kill(child, 9);
    waitpid(child, NULL, 0);
    /* The child's own consent is the other way in. */
    fflush(stdout);
    child = fork();
    need(name, "fork", child);
    if (child == 0)
        _exit(report(name, "traceme", ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
    int status = 0;
    waitpid(child, &status, 0);
    return verdict == WORKED || (WIFEXITED(status) && WEXITSTATUS(status) == WORKED) ? WORKED : REFUSED;
}

enum verdict proc_mem(const char *name, int argc, char **argv) {
    (void)argc;
    int self = !strcmp(argv[0], "self");
    pid_t target = self ? getpid() : sleeping_child(name);
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", target);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    enum verdict verdict = report(name, "open", fd);
    if (verdict == WORKED) {
        /* What is there already: nothing breaks where it works. */
        unsigned char byte = *(volatile unsigned char *)(uintptr_t)answer;
        verdict = report(name, "write", pwrite(fd, &byte, 1, (off_t)(uintptr_t)answer) == 1 ? 0 : -1);
    }
    if (!self) {
        kill(target, 9);
        waitpid(target, NULL, 0);
    }
    return verdict;
}
