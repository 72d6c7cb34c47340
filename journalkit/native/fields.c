/* Fields that the lane reads and writes, as bases of the Python classes that own them.

   To Python they are attributes like any other; without the extension they are the instance's own. */

#include "native.h"

#include <stddef.h>
#include <structmember.h>

/* The kind that the interpreter reads as quickly as a slot. */
#define OBJECT(name, at) {name, T_OBJECT_EX, offsetof(Fields, objects) + (at) * sizeof(PyObject *), 0, NULL}
#define NUMBER(name, kind, at) {name, kind, offsetof(Fields, numbers) + (at) * sizeof(int64_t), 0, NULL}
#define END {NULL, 0, 0, 0, NULL}

static PyMemberDef of_log[] = {
    OBJECT("single", LOG_SINGLE), OBJECT("group", LOG_GROUP), OBJECT("failed", LOG_FAILED),
    NUMBER("last_lsn", T_ULONGLONG, LOG_LAST_LSN), NUMBER("durable_lsn", T_ULONGLONG, LOG_DURABLE_LSN),
    NUMBER("groups", T_LONGLONG, LOG_GROUPS), NUMBER("bytes_appended", T_LONGLONG, LOG_BYTES_APPENDED),
    NUMBER("syncs", T_LONGLONG, LOG_SYNCS), END,
};

static PyMemberDef of_segment[] = {
    OBJECT("file", SEGMENT_FILE), OBJECT("entry", SEGMENT_ENTRY), OBJECT("attempts", SEGMENT_ATTEMPTS),
    NUMBER("end_bytes", T_LONGLONG, SEGMENT_END), NUMBER("ready_until_bytes", T_LONGLONG, SEGMENT_READY_UNTIL),
    NUMBER("unsure_until_bytes", T_LONGLONG, SEGMENT_UNSURE_UNTIL),
    NUMBER("last_checksum", T_LONGLONG, SEGMENT_LAST_CHECKSUM), END,
};

static PyMemberDef of_succession[] = {
    OBJECT("position", SUCCESSION_POSITION), OBJECT("rotation", SUCCESSION_ROTATION),
    NUMBER("rotate_at_bytes", T_LONGLONG, SUCCESSION_ROTATE_AT), END,
};

static PyMemberDef of_layers[] = {
    OBJECT("active", LAYERS_ACTIVE), OBJECT("unfolded_since_s", LAYERS_UNFOLDED_SINCE), END,
};

static PyMemberDef of_memtable[] = {
    OBJECT("entries", MEMTABLE_ENTRIES), NUMBER("last_lsn", T_ULONGLONG, MEMTABLE_LAST_LSN),
    NUMBER("payload_bytes", T_LONGLONG, MEMTABLE_PAYLOAD_BYTES), END,
};

static PyMemberDef of_attempts[] = {NUMBER("failed_errno", T_LONGLONG, ATTEMPTS_FAILED_ERRNO), END};

static PyMemberDef *const members[FIELDS_TYPES] = {
    of_log, of_segment, of_succession, of_layers, of_memtable, of_attempts,
};
static const char *const names[FIELDS_TYPES] = {
    "journalkit._speed.LogFields", "journalkit._speed.SegmentFields",
    "journalkit._speed.SuccessionFields", "journalkit._speed.LayersFields",
    "journalkit._speed.MemTableFields", "journalkit._speed.AttemptsFields",
};
static PyObject *types[FIELDS_TYPES];

enum { OBJECTS = sizeof ((Fields *)0)->objects / sizeof(PyObject *) };

HOLDS_OBJECTS(Fields)

int add_fields_types(PyObject *module) {
    for (int each = 0; each < FIELDS_TYPES; each++) {
        PyType_Slot slots[] = {
            {Py_tp_members, members[each]}, {Py_tp_traverse, (void *)traverse}, {Py_tp_clear, (void *)clear},
            {Py_tp_dealloc, (void *)deallocate}, {0, NULL},
        };
        PyType_Spec spec = {
            names[each], sizeof(Fields), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots,
        };
        types[each] = PyType_FromSpec(&spec);
        if (!types[each] || PyModule_AddObjectRef(module, strrchr(names[each], '.') + 1, types[each]) < 0)
            return -1;
    }
    return 0;
}

bool has_fields(PyObject *object, FieldsType type) {
    return object && PyObject_TypeCheck(object, (PyTypeObject *)types[type]);
}
