/* The policy itself, by hand and through a helper that the kernel starts outside every filter of ours. */
#include "attack.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define IPE "/sys/kernel/security/ipe/"
#define CORE_PATTERN "/proc/sys/kernel/core_pattern"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif

enum verdict write_enforce(const char *name, int argc, char **argv) {
    (void)argc, (void)argv;
    need(name, "ipe", access(IPE "enforce", F_OK));
    return report(name, "write", write_file(IPE "enforce", "0", 1));
}

static enum verdict write_policy(const char *name, const char *path, const char *file) {
    size_t size;
    char *bytes = read_file(name, file, &size);
    need(name, "ipe", access(path, F_OK));
    return report(name, "write", write_file(path, bytes, size));
}

static const char *policy_file(const char *policy, const char *file) {
    static char path[300];
    snprintf(path, sizeof path, IPE "policies/%s/%s", policy, file);
    return path;
}

enum verdict load_policy(const char *name, int argc, char **argv) {
    (void)argc;
    return write_policy(name, IPE "new_policy", argv[0]);
}

enum verdict update_policy(const char *name, int argc, char **argv) {
    (void)argc;
    return write_policy(name, policy_file(argv[0], "update"), argv[1]);
}

enum verdict activate_policy(const char *name, int argc, char **argv) {
    (void)argc;
    need(name, "ipe", access(policy_file(argv[0], "active"), F_OK));
    return report(name, "write", write_file(policy_file(argv[0], "active"), "1", 1));
}

enum verdict delete_policy(const char *name, int argc, char **argv) {
    (void)argc;
    need(name, "ipe", access(policy_file(argv[0], "delete"), F_OK));
    return report(name, "write", write_file(policy_file(argv[0], "delete"), "1", 1));
}

enum verdict privileges(const char *name, int argc, char **argv) {
    (void)argc, (void)argv;
    static const char *const wanted[] = {"Uid:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:"};
    FILE *status = fopen("/proc/self/status", "re");
    need(name, "status", status ? 0 : -1);
    char line[256];
    while (fgets(line, sizeof line, status))
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i])))
                printf("attack %s %s", name, line);
    printf("attack %s Mdwe:\t%d\n", name, prctl(PR_GET_MDWE, 0, 0, 0, 0));
    printf("attack %s Securebits:\t%#x\n", name, prctl(PR_GET_SECUREBITS));
    return WORKED;
}

/* The kernel starts this with the dump of a crashed process on standard input and nothing else open. */
enum verdict core_helper(const char *name, int argc, char **argv) {
    (void)argc;
    if (!freopen(argv[0], "w", stdout))
        return NOT_TRIED;
    privileges(name, 0, NULL);
    /* Each argument list begins where the attack's own would. */
    char *policy_and_file[] = {argv[2], argv[1]}, *native[] = {"64"};
    const struct { const char *name; attack run; char **argv; } steps[] = {
        {"dm-version", dm_version, native},
        {"load-policy", load_policy, argv + 1},
        {"update-policy", update_policy, policy_and_file},
        {"activate-policy", activate_policy, argv + 2},
        {"delete-policy", delete_policy, argv + 2},
        {"write-enforce", write_enforce, NULL},
    };
    /* Each in a child of its own, since what is missing ends the program. */
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fflush(stdout);
        if (fork() == 0)
            exit(steps[i].run(steps[i].name, 0, steps[i].argv));
        wait(NULL);
    }
    printf("attack %s end\n", name);
    fflush(stdout);
    return WORKED;
}

enum verdict core_pattern(const char *name, int argc, char **argv) {
    (void)argc;
    char self[100] = {0}, pattern[400];
    need(name, "self", readlink("/proc/self/exe", self, sizeof self - 1));
    snprintf(pattern, sizeof pattern, "|%s core-helper %s %s %s", self, argv[0], argv[1], argv[2]);
    errno = ENAMETOOLONG;
    need(name, "pattern", strlen(pattern) < 127 ? 0 : -1);
    unlink(argv[0]);
    if (report(name, "core_pattern", write_file(CORE_PATTERN, pattern, strlen(pattern))) == REFUSED)
        return REFUSED;
    fflush(stdout);
    pid_t child = fork();
    need(name, "fork", child);
    if (child == 0) {
        struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_CORE, &all);
        prctl(PR_SET_DUMPABLE, 1);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    /* The kernel does not wait for its helper. */
    for (int tenths = 0; tenths < 100; tenths++) {
        FILE *output = fopen(argv[0], "re");
        char line[300];
        int ended = 0;
        while (output && fgets(line, sizeof line, output))
            ended |= !strcmp(line, "attack core-helper end\n");
        if (ended) {
            rewind(output);
            while (fgets(line, sizeof line, output))
                fputs(line, stdout);
            fclose(output);
            return report(name, "helper", 0);
        }
        if (output)
            fclose(output);
        usleep(100000);
    }
    errno = ETIMEDOUT;
    return report(name, "helper", -1);
}
