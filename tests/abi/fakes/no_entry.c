/* A library that is no penult: it exports something, and not penult_entry. */
int not_the_entry(void);
__attribute__((visibility("default"))) int not_the_entry(void) {
    return 1;
}
