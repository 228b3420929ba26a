"""Artifacts to bring into canonical form: LLVM IR, and small executables.

The executables are synthetic messages in the layout of XLA:CPU's; that the layout is so is shown where real
executables are built.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pcvd.core.canonical import Context, canonicalize
from pcvd.core.wire import BYTES, VARINT, Field, encode, write_varint

MODULE = "jit_forward"
NOWHERE = Context("/tmp/pcv/0001-00", MODULE)
ELSEWHERE = "/tmp/pcv/0815-03"

LLVM = """\
; ModuleID = '__compute_module_while.1_kernel_module'
source_filename = "__compute_module_while.1_kernel_module"
target triple = "x86_64-unknown-linux-gnu"

@0 = private unnamed_addr constant [7 x i8] c"\\00!3\\80!4", align 4
; a remark on !4: ModuleID = 'x', source_filename = "y"
define float @main(ptr %0) {
  %2 = load float, ptr %0, align 4, !noalias !3
  %3 = load float, ptr %0, align 4, !alias.scope !3, !noalias !4
  ret float %3, !note !{!"!4"}
}

!llvm.module.flags = !{!0, !1}

!0 = !{i32 2, !"Debug Info Version", i32 3}
!1 = !{i32 1, !"xla_dylib_index", i64 1}
!3 = !{!5}
!4 = distinct !{!4, !"buffer: {index:2}", !6}
!5 = distinct !{!5, !"buffer: {index:3}", !6}
!6 = !{!"!4 = !{!0}"}
"""
RENUMBERED = """\
; ModuleID = '__compute_module_while.1_kernel_module'
source_filename = "__compute_module_while.1_kernel_module"
target triple = "x86_64-unknown-linux-gnu"

@0 = private unnamed_addr constant [7 x i8] c"\\00!3\\80!4", align 4
; a remark on !4: ModuleID = 'x', source_filename = "y"
define float @main(ptr %0) {
  %2 = load float, ptr %0, align 4, !noalias !9
  %3 = load float, ptr %0, align 4, !alias.scope !9, !noalias !2
  ret float %3, !note !{!"!4"}
}

!llvm.module.flags = !{!1, !0}

!0 = !{i32 1, !"xla_dylib_index", i64 1}
!1 = !{i32 2, !"Debug Info Version", i32 3}
!2 = distinct !{!2, !"buffer: {index:2}", !6}
!6 = !{!"!4 = !{!0}"}
!7 = distinct !{!7, !"buffer: {index:3}", !6}
!9 = !{!7}
"""


def text(number: int, value: str) -> Field:
    return Field(number, BYTES, value.encode())


def number(at: int, value: int) -> Field:
    return Field(at, VARINT, value)


def message(at: int, *fields: Field | None) -> Field:
    return Field(at, BYTES, encode([field for field in fields if field is not None]))


def _override(key: str, value: str) -> Field:
    return message(7, text(1, key), message(2, text(1, value)))


@dataclass(frozen=True)
class Program:
    """A small executable. What is None is left out, as protocol buffers leave out what is not set."""

    module_id: int | None = 7
    name: str = MODULE
    entry: int = 3
    aliasing: bytes = b"\x0a\x02\x08\x00"
    stack_frames: bytes | None = b"\x0a\x07main.py"
    opcode: str = "constant"
    shape: bytes = b"\x10\x0b\x1a\x02\x04\x04"
    layout: int = 1
    constant: bytes = b"\x00\x00\x80\x3f"
    metadata: tuple[str | None, ...] = ("jit(forward)/mul", "jit(forward)/add")
    profile: int | None = None
    xla_options: int = 2
    dumped_to: str | None = NOWHERE.dump_folder
    thunk_kind: str = "while"
    thunk_ids: tuple[int | None, ...] = (7, 7, 7)
    thunk_module: str = MODULE
    op_name: str = "while.3"
    objects: tuple[bytes, ...] = (b"\x7fELF two", b"\x7fELF one", b"\x7fELF three")
    overrides: tuple[tuple[str, str], ...] = (
        ("xla_embed_ir", "true"),
        ("xla_dump_to", NOWHERE.dump_folder),
        ("xla_cpu_max_isa", "AVX2"),
    )
    replicas: int = 1
    header: bytes = b"\x0a\x03cpu"
    tail: bytes = b"host"

    def _instruction(self, op_name: str | None) -> Field:
        return message(
            2,
            text(1, "constant.1"),
            text(2, self.opcode),
            message(3, Field(1, BYTES, self.shape), message(5, number(1, self.layout))),
            self._metadata(op_name),
            message(8, Field(3, BYTES, self.constant)),
        )

    def _metadata(self, op_name: str | None) -> Field | None:
        profile = None if self.profile is None else number(8, self.profile)
        if op_name is None:
            return None if profile is None else message(7, profile)
        position = [text(1, "mul"), text(2, op_name), text(3, "main.py"), number(4, 12)]
        return message(7, *position, profile, number(15, 3), number(17, 12), number(18, 4), number(19, 9))

    def _module(self) -> Field:
        return message(
            1,
            text(1, self.name),
            message(3, text(1, "main"), *(self._instruction(one) for one in self.metadata)),
            None if self.module_id is None else number(5, self.module_id),
            number(6, self.entry),
            Field(8, BYTES, self.aliasing),
            None if self.stack_frames is None else Field(17, BYTES, self.stack_frames),
        )

    def _debug_options(self, at: int) -> Field:
        folder = None if self.dumped_to is None else text(109, self.dumped_to)
        return message(at, number(31, self.xla_options), folder, number(113, 1))

    def _info(self, op_name: str, module_id: int | None) -> Field:
        module_id_field = None if module_id is None else number(3, module_id)
        return message(2, text(1, op_name), text(2, self.thunk_module), module_id_field)

    def _thunks(self) -> Field:
        outer, condition, body = self.thunk_ids
        kernel = message(
            1, text(1, "kernel"), self._info("fusion.1", body), message(5, text(1, "main_kernel"))
        )
        test = message(1, text(1, "kernel"), self._info("compare.2", condition))
        loop = message(12, message(1, test), message(2, kernel), number(3, 10))
        return message(6, message(1, text(1, self.thunk_kind), self._info(self.op_name, outer), loop))

    def encoded(self) -> bytes:
        body = encode(
            [
                message(
                    1,
                    message(1, self._module(), message(2, number(2, 1), self._debug_options(14))),
                    text(4, "main"),
                    self._thunks(),
                    *(Field(8, BYTES, one) for one in self.objects),
                    number(9, 4096),
                ),
                message(
                    2,
                    message(3, number(4, self.replicas), self._debug_options(3)),
                    *(_override(key, value) for key, value in self.overrides),
                ),
                Field(3, BYTES, self.tail),
            ]
        )
        return write_varint(len(self.header)) + self.header + body

    def meant(self, context: Context = NOWHERE) -> bytes:
        """The executable without what carries no meaning, written down without any rule."""
        folder = context.dump_folder
        kept = [one for one in self.overrides if one != ("xla_dump_to", folder) or not folder]
        return replace(
            self,
            module_id=None,
            stack_frames=None,
            metadata=(None,) * len(self.metadata),
            dumped_to=None if self.dumped_to == folder and folder else self.dumped_to,
            thunk_ids=(None, None, None) if self.thunk_module == context.module else self.thunk_ids,
            objects=tuple(sorted(self.objects)),
            overrides=tuple(sorted(kept, key=lambda one: _override(*one).data)),
        ).encoded()


PROGRAM = Program()


def executable(program: Program, context: Context = NOWHERE) -> bytes:
    return canonicalize("executable", program.encoded(), context)[0]
