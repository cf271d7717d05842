/* msan_utf8proc.c - tells MemorySanitizer what utf8proc reads and writes. The distribution's static library was built without
 * it, so what the library wrote would look uninitialised. Each wrapper (the linker's --wrap) first checks that what goes in
 * is initialised, which an uninstrumented library could not, and then marks what came out as written.
 * Knows utf8proc's prototypes and nothing of its Unicode. */
#include <sanitizer/msan_interface.h>
#include <utf8proc.h>

utf8proc_ssize_t __real_utf8proc_decompose_char(utf8proc_int32_t point, utf8proc_int32_t *out, utf8proc_ssize_t room,
                                                utf8proc_option_t options, int *boundary);
utf8proc_ssize_t __wrap_utf8proc_decompose_char(utf8proc_int32_t point, utf8proc_int32_t *out, utf8proc_ssize_t room,
                                                utf8proc_option_t options, int *boundary);
utf8proc_ssize_t __real_utf8proc_normalize_utf32(utf8proc_int32_t *points, utf8proc_ssize_t count,
                                                 utf8proc_option_t options);
utf8proc_ssize_t __wrap_utf8proc_normalize_utf32(utf8proc_int32_t *points, utf8proc_ssize_t count,
                                                 utf8proc_option_t options);
const utf8proc_property_t *__real_utf8proc_get_property(utf8proc_int32_t point);
const utf8proc_property_t *__wrap_utf8proc_get_property(utf8proc_int32_t point);

/* What a function returns has a shadow too, which only instrumented code sets. */
static void settle(void *value, size_t size) {
    __msan_unpoison(value, size);
}

utf8proc_ssize_t __wrap_utf8proc_decompose_char(utf8proc_int32_t point, utf8proc_int32_t *out, utf8proc_ssize_t room,
                                                utf8proc_option_t options, int *boundary) {
    __msan_check_mem_is_initialized(&point, sizeof point);
    __msan_check_mem_is_initialized(&room, sizeof room);
    __msan_check_mem_is_initialized(boundary, sizeof *boundary);
    utf8proc_ssize_t parts = __real_utf8proc_decompose_char(point, out, room, options, boundary);
    settle(&parts, sizeof parts);
    if (parts > 0)
        settle(out, (size_t)(parts < room ? parts : room) * sizeof *out);
    settle(boundary, sizeof *boundary);
    return parts;
}

utf8proc_ssize_t __wrap_utf8proc_normalize_utf32(utf8proc_int32_t *points, utf8proc_ssize_t count,
                                                 utf8proc_option_t options) {
    __msan_check_mem_is_initialized(&count, sizeof count);
    __msan_check_mem_is_initialized(points, (size_t)count * sizeof *points);
    utf8proc_ssize_t composed = __real_utf8proc_normalize_utf32(points, count, options);
    settle(&composed, sizeof composed);
    return composed;
}

const utf8proc_property_t *__wrap_utf8proc_get_property(utf8proc_int32_t point) {
    __msan_check_mem_is_initialized(&point, sizeof point);
    const utf8proc_property_t *property = __real_utf8proc_get_property(point);
    settle(&property, sizeof property);
    return property;
}
