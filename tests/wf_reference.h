/* A reference case: one file of shared/reference/oracle. Include after the implementation and wf_test.h. */
#ifndef WF_REFERENCE_H
#define WF_REFERENCE_H

typedef struct oracle { wf_arena *A; wf_tensors *t; } oracle;

/* Open the case of that name; a failed check, and 0, where there is none. The caller frees o->A after success. */
static int oracle_open(oracle *o, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/reference/oracle/%s.safetensors", wf_test_shared(), name);
    o->A = wf_arena_new(NULL);
    o->t = wf_tensors_read(o->A, path);
    CHECK_STR_HAS(o->t ? "ok" : wf_arena_report(o->A)->text, "ok");
    if (!o->t) wf_arena_free(o->A);
    return o->t != NULL;
}

/* The numbers of a tensor in double precision; NULL, and a failed check, where there is none. */
static const double *values(const oracle *o, const char *name)
{
    const wf_array *a = wf_tensors_find(o->t, name);
    if (!a) printf("  the reference has no %s\n", name);
    CHECK(a != NULL);
    return a ? wf_array_f64(o->A, a) : NULL;
}

/* A number among the notes of the file; 0 where there is none. */
static inline double note_real(const oracle *o, const char *key) { const char *text = wf_tensors_about(o->t, key); return text ? atof(text) : 0; }
static inline int note(const oracle *o, const char *key) { return (int)note_real(o, key); }
#endif
