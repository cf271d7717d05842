/* boot.S - stands in for the BIOS of the emulated machine: 64 KiB that Bochs has both as ROM, where the CPU starts, and as
 * memory from BASE on. Goes to protected mode and jumps to Linux, which lies in memory already (run.sh), with what Linux calls
 * the zero page (Documentation/arch/x86/boot.rst and zero-page.rst of its source). Defined by who builds it: KERNEL, the file whose
 * setup header is taken; COMMAND_LINE; INITRD_BYTES; MEMORY, in bytes. No ACPI, no PCI: Linux runs without. */

#define BASE 0x10000 /* what ld is told too */
#define KERNEL_AT 0x100000
#define INITRD_AT 0x8000000

    .text
    .globl _start
_start:
    .code32
protected:
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $zero_page, %esi
    xor %ebx, %ebx
    xor %ebp, %ebp
    xor %edi, %edi
    mov $KERNEL_AT, %eax
    jmp *%eax

    .balign 8
table: /* flat segments where Linux expects them: code 0x10, data 0x18 */
    .quad 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
table_pointer:
    .word table_pointer - table - 1
    .long table

    .org 0x1000
zero_page:
    .org 0x1000 + 0x1e8
    .byte 2 /* entries of the memory map */
    .org 0x1000 + 0x1f1
    .incbin KERNEL, 0x1f1, 0x1f
    .byte 0xff, 1 /* a loader without a number; the kernel is loaded high */
    .incbin KERNEL, 0x212, 2
    .long KERNEL_AT, INITRD_AT, INITRD_BYTES
    .incbin KERNEL, 0x220, 8
    .long command_line
    .incbin KERNEL, 0x22c, 0x40
    .org 0x1000 + 0x2d0
    .quad 0, 0x9f000
    .long 1
    .quad KERNEL_AT, MEMORY - KERNEL_AT
    .long 1

    .org 0x2000
command_line:
    .asciz COMMAND_LINE

    .org 0xff00
    .code16
real:
    cli
    lgdtl %cs:(table_pointer - _start)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x10, $protected

    .org 0xfff0 /* where an x86 CPU begins */
    jmp real
    .org 0x10000
