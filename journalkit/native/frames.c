/* Frames: twin of `encode_with_checksum` in format/frame.py and of `fold_regular` in format/run.py. */

#include "native.h"

void frame_header(unsigned char *at, const unsigned char *payload, size_t payload_bytes, uint64_t lsn,
                  int64_t time_us, uint64_t durable_lsn, unsigned kind, uint32_t seed, uint32_t *header_checksum) {
    store32(at + 4, checksum(payload, payload_bytes, seed + FRAME_HEADER_BYTES));
    store32(at + 8, (uint32_t)payload_bytes);
    store32(at + 12, FRAME_MAGIC | (uint32_t)kind << 16);
    store64(at + 16, lsn);
    store64(at + 24, (uint64_t)time_us);
    store64(at + 32, durable_lsn);
    *header_checksum = checksum(at + 4, FRAME_HEADER_BYTES - 4, seed);
    store32(at, *header_checksum);
}

/* Of long data the library's checksum is the quicker one, and what is saved around it nothing. */
#define OWN_CHECKSUM_BYTES_MAX 4096

/* encode_with_checksum(payload, lsn, time_us, durable_lsn, kind, salt, offset_bytes) */
static PyObject *encode_with_checksum(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 7 || !PyBytes_CheckExact(arguments[0]) || PyBytes_Size(arguments[0]) > OWN_CHECKSUM_BYTES_MAX)
        return ask_twin(twin, arguments, count);
    unsigned long long numbers[7] = {0};
    for (int at = 1; at < 7; at++) {
        /* A time may lie before 1970. */
        numbers[at] = at == 2 ? (unsigned long long)PyLong_AsLongLong(arguments[at])
                              : PyLong_AsUnsignedLongLong(arguments[at]);
        if (numbers[at] == (unsigned long long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return ask_twin(twin, arguments, count);
        }
    }
    if (numbers[4] > 0xFF)
        return ask_twin(twin, arguments, count);
    const unsigned char *payload = (const unsigned char *)PyBytes_AsString(arguments[0]);
    size_t payload_bytes = (size_t)PyBytes_Size(arguments[0]);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(FRAME_HEADER_BYTES + payload_bytes));
    if (!frame)
        return NULL;
    unsigned char *at = (unsigned char *)PyBytes_AsString(frame);
    uint32_t sum;
    frame_header(at, payload, payload_bytes, numbers[1], (int64_t)numbers[2], numbers[3], (unsigned)numbers[4],
                 (uint32_t)(numbers[5] + numbers[6]), &sum);
    memcpy(at + FRAME_HEADER_BYTES, payload, payload_bytes);
    return Py_BuildValue("Nk", frame, (unsigned long)sum);
}

/* fold_regular(buffer, base_bytes, salt, lsn, entries). Not a byte of the buffer is believed before its checksum. */
static PyObject *fold_regular(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 5 || !PyBytes_CheckExact(arguments[0]) || !PyDict_CheckExact(arguments[4]))
        return ask_twin(twin, arguments, count);
    unsigned long long numbers[4] = {0};
    for (int at = 1; at < 4; at++) {
        numbers[at] = PyLong_AsUnsignedLongLong(arguments[at]);
        if (numbers[at] == (unsigned long long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return ask_twin(twin, arguments, count);
        }
    }
    const unsigned char *buffer = (const unsigned char *)PyBytes_AsString(arguments[0]);
    size_t limit = (size_t)PyBytes_Size(arguments[0]), position = 0;
    uint32_t origin = (uint32_t)(numbers[1] + numbers[2]), sum = 0;
    uint64_t first_lsn = numbers[3], lsn = first_lsn;
    while (limit - position >= FRAME_HEADER_BYTES + ENTRY_HEADER_BYTES && lsn < UINT64_MAX) {
        const unsigned char *frame = buffer + position, *payload = frame + FRAME_HEADER_BYTES;
        size_t size = load32(frame + 8);
        uint32_t seed = origin + (uint32_t)position;
        if (load32(frame + 12) != (FRAME_MAGIC | KIND_BATCH << 16) || load64(frame + 16) != lsn + 1
            || size > limit - position - FRAME_HEADER_BYTES
            || checksum(frame + 4, FRAME_HEADER_BYTES - 4, seed) != load32(frame)
            || checksum(payload, size, seed + FRAME_HEADER_BYTES) != load32(frame + 4))
            break;
        int is_batch = fold_batch(payload, size, arguments[4]);
        if (is_batch < 0)
            return NULL;
        if (!is_batch)
            break;
        lsn++;
        sum = load32(frame);
        position += FRAME_HEADER_BYTES + size;
    }
    uint64_t records = lsn - first_lsn;
    return Py_BuildValue("nKkKn", (Py_ssize_t)position, (unsigned long long)lsn, (unsigned long)sum,
                         (unsigned long long)records, (Py_ssize_t)(position - records * FRAME_HEADER_BYTES));
}

PyMethodDef frame_functions[] = {
    {"encode_with_checksum", (PyCFunction)(void (*)(void))encode_with_checksum, METH_FASTCALL, NULL},
    {"fold_regular", (PyCFunction)(void (*)(void))fold_regular, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
