/* Data blocks: twin of `find_entry` in format/block.py, and what `Finder` needs of blocks and filters. */

#include "native.h"

#define RESIDUE 0x48674BC7u
#define BLOCK_TOMBSTONE 0xFFFFu

/* Where an entry begins, the bytes of its key, where it ends; `middle` is where the key does. */
typedef struct {
    uint32_t begin, key_bytes, middle, end;
} Place;

static Place place_of(const unsigned char *block, uint64_t number) {
    const unsigned char *row = block + number * BLOCK_ROW_BYTES;
    Place place = {load32(row), load16(row + 4), 0, load32(row + 6)};
    uint64_t middle = (uint64_t)place.begin + place.key_bytes;
    place.middle = place.key_bytes == BLOCK_TOMBSTONE ? place.end : middle > UINT32_MAX ? UINT32_MAX : (uint32_t)middle;
    return place;
}

/* Whether rows, fingerprints and checksum of so many entries fit, which is what reading them takes. */
static bool has_rows(size_t size, uint64_t count) {
    return size >= BLOCK_START_BYTES + BLOCK_CRC_BYTES
        && count <= (size - BLOCK_START_BYTES - BLOCK_CRC_BYTES) / BLOCK_ENTRY_BYTES;
}

Found search_block(const unsigned char *block, size_t size, uint64_t count, const unsigned char *key, size_t key_bytes,
                   const unsigned char **value, size_t *value_bytes) {
    if (!has_rows(size, count))
        return FOUND_NONSENSE;
    const unsigned char *fingerprints = block + BLOCK_START_BYTES + count * BLOCK_ROW_BYTES, *at = fingerprints;
    size_t start = BLOCK_START_BYTES + count * BLOCK_ENTRY_BYTES, end = size - BLOCK_CRC_BYTES;
    unsigned char fingerprint = (unsigned char)checksum(key, key_bytes, 0);
    while ((at = memchr(at, fingerprint, (size_t)(fingerprints + count - at)))) {
        Place place = place_of(block, (uint64_t)(at - fingerprints));
        if (start > place.begin || place.begin > place.middle || place.middle > place.end || place.end > end)
            return FOUND_NONSENSE;
        if (place.middle - place.begin == key_bytes && memcmp(block + place.begin, key, key_bytes) == 0) {
            *value = block + place.middle;
            *value_bytes = place.end - place.middle;
            return place.key_bytes == BLOCK_TOMBSTONE ? FOUND_DELETED : FOUND_VALUE;
        }
        at++;
    }
    return FOUND_NOTHING;
}

static bool has_key(const unsigned char *block, size_t size, uint64_t number, PyObject *key) {
    Place place = place_of(block, number);
    return place.begin <= place.middle && place.middle <= size
        && (size_t)PyBytes_Size(key) == place.middle - place.begin
        && memcmp(block + place.begin, PyBytes_AsString(key), place.middle - place.begin) == 0;
}

bool is_as_indexed(const unsigned char *block, size_t size, PyObject *first, PyObject *last, uint64_t count,
                   uint32_t seed) {
    if (!count || !has_rows(size, count) || checksum(block, size, seed) != RESIDUE)
        return false;
    return place_of(block, 0).begin == BLOCK_START_BYTES + count * BLOCK_ENTRY_BYTES
        && place_of(block, count - 1).end == size - BLOCK_CRC_BYTES
        && has_key(block, size, 0, first) && has_key(block, size, count - 1, last);
}

bool may_hold(const unsigned char *page, size_t size, uint64_t low, uint64_t high, const unsigned char *key,
              size_t key_bytes) {
    uint32_t crc = checksum(key, key_bytes, 0);
    size_t plane = size < PAGE_OVERHEAD_BYTES ? 0 : (size - PAGE_OVERHEAD_BYTES) / 2;
    if (high > plane || low > high)
        return true; /* nothing that a page that was checked can say: the block tells */
    const unsigned char *at = page + PAGE_HEAD_BYTES + low, *end = page + PAGE_HEAD_BYTES + high;
    for (; (at = memchr(at, (int)(crc >> 24), (size_t)(end - at))); at++)
        if (at[plane] == (crc >> 16 & 0xFF))
            return true;
    return false;
}

/* find_entry(block, count, key): nonsense is looked at again by the twin, which says what it is. */
static PyObject *find_entry(PyObject *twin, PyObject *const *arguments, Py_ssize_t arguments_count) {
    if (arguments_count != 3 || !PyBytes_CheckExact(arguments[0]) || !PyLong_CheckExact(arguments[1])
        || !PyBytes_CheckExact(arguments[2]))
        return ask_twin(twin, arguments, arguments_count);
    uint64_t count = PyLong_AsUnsignedLongLong(arguments[1]);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return ask_twin(twin, arguments, arguments_count);
    }
    const unsigned char *value;
    size_t value_bytes;
    switch (search_block((const unsigned char *)PyBytes_AsString(arguments[0]), (size_t)PyBytes_Size(arguments[0]), count,
                         (const unsigned char *)PyBytes_AsString(arguments[2]), (size_t)PyBytes_Size(arguments[2]),
                         &value, &value_bytes)) {
    case FOUND_VALUE:
        return PyBytes_FromStringAndSize((const char *)value, (Py_ssize_t)value_bytes);
    case FOUND_DELETED:
        return Py_NewRef(Py_None);
    default: /* FOUND_NOTHING is ABSENT, which is the twin's to know */
        return ask_twin(twin, arguments, arguments_count);
    }
}

PyMethodDef block_functions[] = {
    {"find_entry", (PyCFunction)(void (*)(void))find_entry, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
