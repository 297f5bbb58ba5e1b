/* What the attack programs share: each tries one thing as root and reports one line. */
#ifndef GRAVEN_ATTACK_H
#define GRAVEN_ATTACK_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit status of the program. */
enum verdict { WORKED = 0, REFUSED = 1, NOT_TRIED = 2 };

/* Prints `attack NAME STEP worked|refused ERRNO` and answers the verdict. `failed` is the call's result below zero. */
enum verdict report(const char *name, const char *step, int failed);

/* Something that the attack only needs in place went wrong: prints it and exits with NOT_TRIED. */
void need(const char *name, const char *step, int failed);

/* Opens for reading, or exits. */
int open_needed(const char *name, const char *path);

/* Writes the bytes in one write(2); below zero with errno set where it fails or falls short. */
int write_file(const char *path, const void *bytes, size_t size);

/* Reads a whole file of up to 64 MiB, or exits. */
char *read_file(const char *name, const char *path, size_t *size);

typedef enum verdict (*attack)(const char *name, int argc, char **argv);

enum verdict execve_check(const char *, int, char **);
enum verdict exec_file(const char *, int, char **);
enum verdict memfd_exec(const char *, int, char **);
enum verdict enable_verity(const char *, int, char **);
enum verdict mmap_exec(const char *, int, char **);
enum verdict mprotect_exec(const char *, int, char **);
enum verdict private_mapping(const char *, int, char **);
enum verdict anonymous_exec(const char *, int, char **);
enum verdict ptrace_poketext(const char *, int, char **);
enum verdict proc_mem(const char *, int, char **);
enum verdict finit_module_file(const char *, int, char **);
enum verdict init_module_file(const char *, int, char **);
enum verdict firmware(const char *, int, char **);
enum verdict firmware_elsewhere(const char *, int, char **);
enum verdict firmware_fallback(const char *, int, char **);
enum verdict kexec_file(const char *, int, char **);
enum verdict kexec_pages(const char *, int, char **);
enum verdict write_enforce(const char *, int, char **);
enum verdict load_policy(const char *, int, char **);
enum verdict update_policy(const char *, int, char **);
enum verdict activate_policy(const char *, int, char **);
enum verdict delete_policy(const char *, int, char **);
enum verdict core_pattern(const char *, int, char **);
enum verdict core_helper(const char *, int, char **);
enum verdict dm_create(const char *, int, char **);
enum verdict dm_replace(const char *, int, char **);
enum verdict dm_version(const char *, int, char **);
enum verdict dm_verity(const char *, int, char **);
enum verdict dm_through_error(const char *, int, char **);
enum verdict write_device(const char *, int, char **);
enum verdict marker(const char *, int, char **);
enum verdict patch(const char *, int, char **);
enum verdict privileges(const char *, int, char **);

#endif
