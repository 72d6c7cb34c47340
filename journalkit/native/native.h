/* What the files of journalkit._speed share. How it is built and why: docs/decisions/0023.

   Each function here has a plain twin in Python, whose name it bears and which it is bound to: `PyCFunction`'s self
   is the twin. Whatever is out of the ordinary, errors above all, is the twin's: it is called with the same arguments.
   So what is refused, and in which words, is said in Python alone. */

#ifndef JOURNALKIT_NATIVE_H
#define JOURNALKIT_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* The format's numbers: format/frame.py, format/batch.py, format/keys.py, format/values.py. A test compares them. */
#define FRAME_HEADER_BYTES 40
#define FRAME_MAGIC 0x4AF7
#define KIND_BATCH 1
#define ENTRY_HEADER_BYTES 6
#define TOMBSTONE 0xFFFFFFFFu
#define KEY_BYTES_MAX 8192
#define KEY_DEPTH_MAX 16
#define VALUE_DEPTH_MAX 64
#define PAYLOAD_BYTES_MAX (256 * 1024 * 1024)

/* Bytes on disk are little-endian, and any offset may be odd. */
static inline void store16(unsigned char *at, uint16_t value) {
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

static inline void store32(unsigned char *at, uint32_t value) {
    store16(at, (uint16_t)value);
    store16(at + 2, (uint16_t)(value >> 16));
}

static inline void store64(unsigned char *at, uint64_t value) {
    store32(at, (uint32_t)value);
    store32(at + 4, (uint32_t)(value >> 32));
}

static inline uint32_t load16(const unsigned char *at) { return at[0] | (uint32_t)at[1] << 8; }

static inline uint32_t load32(const unsigned char *at) { return load16(at) | load16(at + 2) << 16; }

static inline uint64_t load64(const unsigned char *at) { return load32(at) | (uint64_t)load32(at + 4) << 32; }

/* checksum.c */
void checksum_begin(void);
uint32_t checksum(const unsigned char *data, size_t size, uint32_t seed);

/* keys.c: a new bytes object; NULL without an exception for what the twin has to look at. */
PyObject *key_as_bytes(PyObject *key);

/* cbor.c: a new bytes object; NULL without an exception for what the twin has to look at. */
PyObject *value_as_cbor(PyObject *value);

/* values.c: as the codec of that form does. */
typedef enum { FORM_OTHER, FORM_RAW, FORM_CBOR } Form;
Form form_of(PyObject *codec);
PyObject *value_at_once(Form form, PyObject *value); /* NULL without an exception if Python has to do it. */
PyObject *value_as_bytes(Form form, PyObject *encode, PyObject *value);

/* frames.c */
void frame_header(unsigned char *at, const unsigned char *payload, size_t payload_bytes, uint64_t lsn,
                  int64_t time_us, uint64_t durable_lsn, unsigned kind, uint32_t seed, uint32_t *header_checksum);

/* batches.c: whether the payload was a batch; -1 with an exception. `entries` holds what came before otherwise. */
int fold_batch(const unsigned char *payload, size_t size, PyObject *entries);

/* blocks.c, as format/block.py and format/filters.py have them. */
#define BLOCK_START_BYTES 4
#define BLOCK_ROW_BYTES 6
#define BLOCK_ENTRY_BYTES 7
#define BLOCK_CRC_BYTES 4
#define PAGE_HEAD_BYTES 4
#define PAGE_OVERHEAD_BYTES 8
#define PAGE_BLOCKS 16
#define CACHED_BLOCK_BYTES 273 /* RAW_BYTES in snapshot/cache.py */
#define FILTERED_READS 16

/* store/hot.py: keys that were asked for. */
#define ASKED_PLACES (1 << 20)
#define ASKED_MAX (ASKED_PLACES / 2)
#define PATIENCE 4

typedef enum { FOUND_NOTHING, FOUND_VALUE, FOUND_DELETED, FOUND_NONSENSE } Found;
Found search_block(const unsigned char *block, size_t size, uint64_t count, const unsigned char *key, size_t key_bytes,
                   const unsigned char **value, size_t *value_bytes);
bool is_as_indexed(const unsigned char *block, size_t size, PyObject *first, PyObject *last, uint64_t count,
                   uint32_t seed);
bool may_hold(const unsigned char *page, size_t size, uint64_t low, uint64_t high, const unsigned char *key,
              size_t key_bytes);

/* `traverse`, `clear` and `deallocate` of a type that holds `objects`, OBJECTS of them, and nothing else of Python's. */
#define HOLDS_OBJECTS(Type)                                                                                            \
    static int traverse(PyObject *self, visitproc visit, void *arg) {                                                  \
        Py_VISIT(Py_TYPE(self));                                                                                       \
        for (int at = 0; at < OBJECTS; at++)                                                                           \
            Py_VISIT(((Type *)self)->objects[at]);                                                                     \
        return 0;                                                                                                      \
    }                                                                                                                  \
                                                                                                                       \
    static int clear(PyObject *self) {                                                                                 \
        for (int at = 0; at < OBJECTS; at++)                                                                           \
            Py_CLEAR(((Type *)self)->objects[at]);                                                                     \
        return 0;                                                                                                      \
    }                                                                                                                  \
                                                                                                                       \
    static void deallocate(PyObject *self) {                                                                           \
        PyTypeObject *type = Py_TYPE(self);                                                                            \
        PyObject_GC_UnTrack(self);                                                                                     \
        clear(self);                                                                                                   \
        ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);                                                            \
        Py_DECREF(type);                                                                                               \
    }

/* finder.c, reads.c */
int add_finder_type(PyObject *module);
int add_reads_type(PyObject *module);

/* The functions, to be bound to their twins by `module.c`. */
extern PyMethodDef key_functions[], value_functions[], cbor_functions[], frame_functions[], batch_functions[],
    chunk_functions[], block_functions[];

/* And what has no twin. */
extern PyMethodDef checksum_functions[];

/* posix.c: what is written, and whether it is made durable, without the interpreter's lock. */
typedef struct {
    const void *data;
    size_t size;
    int64_t offset_bytes;
    const void *slot; /* NULL if nothing has to be durable; SLOT_BYTES else */
} Write;

/* How far it came, and the errno of what failed; 0 if nothing did. */
typedef struct {
    ssize_t taken;
    int write_errno, sync_errno, slot_errno;
} Written;

Written write_record(const Write *write, int descriptor, int slot_descriptor);

/* What a function made in posix.c is bound to, borrowed; NULL for any other function. */
PyObject *written_to_by(PyObject *pwrite);
PyObject *synced_by(PyObject *sync_data);
PyObject *read_by(PyObject *read_at);

/* Read all of it, without the interpreter's lock; false if it can't be had. */
bool read_whole(int descriptor, void *to, size_t size, int64_t offset_bytes);
extern PyMethodDef posix_functions[];

/* target.c: where a record goes. The slot's numbers: format/segment.py. */
#define SLOT_BYTES 76
#define SLOT_HEAD_BYTES 56

/* All but the end of the durable slots in one segment. */
typedef struct {
    unsigned char head[SLOT_HEAD_BYTES];
    uint32_t head_checksum;
    uint64_t segment; /* 0 until there is one */
} SlotHead;

typedef struct {
    PyObject *position, *segment, *pwrite, *slot_pwrite;
    int descriptor, slot_descriptor; /* slot_descriptor: -1 if nobody waits for an fsync */
    uint32_t salt;
    uint64_t number;
} Target;

/* Find where the next record goes; false, maybe with an exception, if that is out of the ordinary. Runs Python. `durable`
   is None if nobody waits for an fsync. Whatever it says, `let_go` follows. */
bool find_target(Target *target, PyObject *log, PyObject *segments, PyObject *durable, SlotHead *slot);
void let_go(Target *target);

/* Whether that is still where it goes. */
bool is_current(const Target *target, PyObject *segments, const SlotHead *slot);
void slot_of(unsigned char *at, const SlotHead *slot, uint64_t end_bytes, uint64_t lsn);
int add_target_names(void);

/* fields.c: what the lane reads and writes of objects that belong to Python. One layout serves all. */
typedef struct {
    PyObject_HEAD
    PyObject *objects[3];
    int64_t numbers[5];
} Fields;

enum { LOG_SINGLE, LOG_GROUP, LOG_FAILED };
enum { LOG_LAST_LSN, LOG_DURABLE_LSN, LOG_GROUPS, LOG_BYTES_APPENDED, LOG_SYNCS };
enum { SEGMENT_FILE, SEGMENT_ENTRY, SEGMENT_ATTEMPTS };
enum { SEGMENT_END, SEGMENT_READY_UNTIL, SEGMENT_UNSURE_UNTIL, SEGMENT_LAST_CHECKSUM };
enum { ATTEMPTS_FAILED_ERRNO };
enum { SUCCESSION_POSITION, SUCCESSION_ROTATION };
enum { SUCCESSION_ROTATE_AT };
enum { LAYERS_ACTIVE, LAYERS_UNFOLDED_SINCE };
enum { MEMTABLE_ENTRIES };
enum { MEMTABLE_LAST_LSN, MEMTABLE_PAYLOAD_BYTES };

typedef enum { OF_LOG, OF_SEGMENT, OF_SUCCESSION, OF_LAYERS, OF_MEMTABLE, OF_ATTEMPTS, FIELDS_TYPES } FieldsType;

static inline int64_t *numbers_of(PyObject *fields) { return ((Fields *)fields)->numbers; }

static inline PyObject **objects_of(PyObject *fields) { return ((Fields *)fields)->objects; }

int add_fields_types(PyObject *module);
bool has_fields(PyObject *object, FieldsType type);

static inline bool is_none(PyObject *object) { return !object || object == Py_None; }

/* lane.c */
int add_lane_type(PyObject *module);

/* Call the twin with the arguments as they came. */
PyObject *ask_twin(PyObject *twin, PyObject *const *arguments, Py_ssize_t count);

#endif
