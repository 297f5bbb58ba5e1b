/* /init of a machine in which the kernel decides: each policy of /policies is made the active one, everything that can be
   tried in each place is tried, and what the kernel's audit records say of it is told, on the last disk. The last policy
   comes once more, permissive.

   /policies is a row of messages: a length of 32 bits, little-endian, and so many bytes; number N is called decide-N.
   The answer: `POLICY N ENFORCING`, then for each try `TRIED PLACE WAY RESULT` and behind it the records of it, as
   dmesg would have them. `LOST N` ends it. RESULT is 0, an error's name, or `killed`. */
#include "decide.h"

#include <sys/wait.h>

static const char *policy_file(int number, const char *file) {
    static char path[100];
    snprintf(path, sizeof path, IPE "policies/decide-%d/%s", number, file);
    return path;
}

static void activate(int number, const void *message, size_t size) {
    write_whole(IPE "new_policy", message, size);
    write_whole(policy_file(number, "active"), "1", 1);
    if (number > 0)
        write_whole(policy_file(number - 1, "delete"), "1", 1);
}

static void try(const struct place *place, const struct way *way, FILE *answer) {
    fflush(answer);
    pid_t child = fork();
    need("fork", child);
    if (child == 0)
        _exit(place ? way->with_file(place) : way->without());
    int status;
    need("wait", waitpid(child, &status, 0));
    const char *result = "killed";
    if (WIFEXITED(status))
        result = WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "0";
    fprintf(answer, "TRIED %s %s %s\n", place ? place->name : "none", way->name, result);
    records_write(answer);
}

static void try_all(int policy, int enforcing, FILE *answer) {
    fprintf(answer, "POLICY %d %d\n", policy, enforcing);
    for (size_t way = 0; way < way_count; way++) {
        if (!ways[way].with_file)
            try(NULL, &ways[way], answer);
        else
            for (size_t place = 0; place < place_count; place++)
                if (places[place].folder || !ways[way].by_folder)
                    try(&places[place], &ways[way], answer);
    }
}

int main(void) {
    prepare();
    make_places();
    records_open();
    FILE *policies = fopen("/policies", "re"), *answer = fopen(ANSWER, "we");
    need("policies and answer", policies && answer ? 0 : -1);
    records_write(answer);
    uint32_t length;
    int number = 0;
    for (; fread(&length, sizeof length, 1, policies) == 1; number++) {
        char *message = malloc(length);
        need("a policy", fread(message, 1, length, policies) == length ? 0 : -1);
        activate(number, message, length);
        free(message);
        try_all(number, 1, answer);
        printf("DECIDED %d\n", number);
        fflush(stdout);
    }
    write_whole(IPE "enforce", "0", 1);
    try_all(number - 1, 0, answer);
    fprintf(answer, "LOST %u\n", records_lost());
    need("answer", fflush(answer) || fsync(fileno(answer)) ? -1 : 0);
    printf("DECIDED ALL %d\n", number);
    off();
}
