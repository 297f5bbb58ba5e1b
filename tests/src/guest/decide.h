/* What the parts of the deciding machine's /init share. */
#ifndef GRAVEN_DECIDE_H
#define GRAVEN_DECIDE_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What lies in each place, and in the initramfs below SOURCE. */
#define SOURCE "/place"
enum file { PROGRAM, SCRIPT, MODULE, PACKED_MODULE, FIRMWARE, KERNEL, IMA_POLICY, FILES };
extern const char *const file_names[FILES];

/* A place that files lie in. */
struct place {
    const char *name;
    /* Its folder; NULL where the files have no name, only descriptors. */
    const char *folder;
    int descriptors[FILES];
};
extern struct place places[];
extern const size_t place_count;

/* Where a file of a place is opened; good until the next call. */
const char *path_of(const struct place *place, enum file file);

/* Lays out all places. */
void make_places(void);

/* One thing that the kernel asks its policy about: 0, or the error number of the call. Runs in a process of its own. */
struct way {
    const char *name;
    /* NULL for what there is no file of. */
    int (*with_file)(const struct place *place);
    int (*without)(void);
    /* The kernel finds the file by its folder. */
    int by_folder;
};
extern const struct way ways[];
extern const size_t way_count;

/* Audit records, all of them: from here on they come to this process. */
void records_open(void);
/* Writes the records up to this moment. */
void records_write(FILE *to);
/* Records that the kernel lost since the boot. */
unsigned records_lost(void);

#define IPE "/sys/kernel/security/ipe/"
/* The disk that the answer is written to, the last one. */
#define ANSWER "/dev/vde"
/* Mounts what the kernel has, and loads the modules of /modules. */
void prepare(void);
/* Mounts on a folder, made if need be. */
void mounted(const char *what, const char *folder, const char *type, unsigned long flags, const char *options);
/* Copies a file to where none is. */
void copy(const char *from, const char *to);
/* Gives this process the root hash signature in a file as the key of this name. */
void give_signature(const char *description, const char *file);
/* A read-only device of one target, by a file with a line `START LENGTH TARGET PARAMETERS`. */
void map_device(const char *device, const char *table);

/* Ends the machine with a word of what failed, where `failed` is below zero. */
void need(const char *what, int failed);
void *read_whole(const char *path, size_t *size);
void write_whole(const char *path, const void *bytes, size_t size);
void off(void);

#endif
