/* /init of a machine that asks its kernel about the files of an image, by the image's own policy: each where it lies on the
   image's root, and as a copy on the state.

   /paths has a line `WAY PATH` for each file; WAY is `check` or `mmap`. The answer: `TRIED PLACE PATH RESULT` with PLACE
   `root` or `state`, and behind it the records of it, as dmesg would have them. `LOST N` ends it. */
#include "decide.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif
#define ROOT "/root"
#define COPY "/state/copy"

static int ask(const char *way, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need(path, fd);
    if (!strcmp(way, "mmap"))
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? errno : 0;
    char *const arguments[] = {"asked", NULL}, *const environment[] = {NULL};
    int flags = AT_EMPTY_PATH | AT_EXECVE_CHECK;
    return syscall(SYS_execveat, fd, "", arguments, environment, flags) < 0 ? errno : 0;
}

static void try(const char *place, const char *way, const char *file, const char *path, FILE *answer) {
    fflush(answer);
    pid_t child = fork();
    need("fork", child);
    if (child == 0)
        _exit(ask(way, path));
    int status;
    need("wait", waitpid(child, &status, 0));
    need("a child", WIFEXITED(status) ? 0 : -1);
    int error = WEXITSTATUS(status);
    fprintf(answer, "TRIED %s %s %s\n", place, file, error ? strerrorname_np(error) : "0");
    records_write(answer);
}

int main(void) {
    prepare();
    give_signature("root", "/verity/signature");
    map_device("root", "/verity/root");
    mounted("/dev/dm-0", ROOT, "erofs", MS_RDONLY, "");
    mounted("/dev/vdc", "/state", "ext4", 0, "");
    size_t size;
    char *policy = read_whole("/policy", &size), name[300], active[400];
    write_whole(IPE "new_policy", policy, size);
    FILE *paths = fopen("/paths", "re"), *answer = fopen("/dev/vdd", "we"), *named = fopen("/policy-name", "re");
    need("paths, answer and name", paths && answer && named ? 0 : -1);
    need("policy's name", fscanf(named, "%255s", name) == 1 ? 0 : -1);
    snprintf(active, sizeof active, IPE "policies/%s/active", name);
    write_whole(active, "1", 1);
    records_open();
    records_write(answer);

    char line[4200], way[10], path[4096];
    int count = 0;
    for (; fgets(line, sizeof line, paths); count++) {
        line[strcspn(line, "\n")] = 0;
        char *file = strchr(line, '/');
        need("a path", file && sscanf(line, "%9s", way) == 1 ? 0 : -1);
        snprintf(path, sizeof path, ROOT "%s", file);
        try("root", way, file, path, answer);
        copy(path, COPY);
        try("state", way, file, COPY, answer);
        need(COPY, unlink(COPY));
    }
    fprintf(answer, "LOST %u\n", records_lost());
    need("answer", fflush(answer) || fsync(fileno(answer)) ? -1 : 0);
    printf("ASKED ALL %d\n", count);
    off();
}
