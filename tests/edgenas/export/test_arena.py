"""The planned arena is the interpreter's: the same size, and every tensor in the same place."""

from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgenas.export.arena import plan_arena
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import to_codes
from edgenas.space.arch import Arch
from tests.edgenas.export.trained import Trained, corners_and_draws


def real_arena(model: bytes) -> tuple[int, dict[int, int]]:
    """Extent of the arena and the offset of each tensor in it, without any delegate.

    The interpreter tells neither, but where a tensor's bytes are: views of them have addresses.
    """
    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    native = Interpreter(model_content=model, experimental_op_resolver_type=without, num_threads=1)
    in_file = len(native.get_tensor_details())
    native.allocate_tensors()
    ours = {int(each["index"]) for each in native.get_input_details()}
    ours |= {int(i) for op in native._get_ops_details() for i in op["outputs"]}
    found: dict[int, tuple[int, int]] = {}
    for each in native.get_tensor_details():
        index = int(each["index"])
        if index in ours or index >= in_file:  # scratch buffers come after those of the file
            view = native.tensor(index)()
            found[index] = (view.__array_interface__["data"][0], view.nbytes)
            del view
    base = min(address for address, _ in found.values())
    end = max(address + size for address, size in found.values())
    return end - base, {i: address - base for i, (address, _) in found.items() if i in ours}


def check(trained: Trained, arch: Arch, folder: Path) -> int:
    """Compare one subnet's plan with the real thing; the size of its arena."""
    model = trained.exporter(folder).export(arch).path.read_bytes()
    plan, (extent, offsets) = plan_arena(model), real_arena(model)
    assert plan.offsets == offsets, arch.describe()
    assert plan.peak_bytes == extent, arch.describe()
    return extent


def test_the_plan_is_the_interpreters(grey: Trained, tmp_path: Path) -> None:
    sizes = [check(grey, arch, tmp_path) for arch in corners_and_draws(grey.space, 1)]
    assert sizes[0] > sizes[1]  # the largest and the smallest


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_plan_is_the_interpreters_for_fifty(
    grey: Trained, colours: Trained, tmp_path: Path
) -> None:
    for trained in (grey, colours):
        for arch in corners_and_draws(trained.space, 23):
            check(trained, arch, tmp_path)


def test_inputs_and_the_answer_outlive_an_inference(grey: Trained, tmp_path: Path) -> None:
    arch = grey.space.smallest()
    model = grey.exporter(tmp_path).export(arch).path.read_bytes()
    codes = to_codes(grey.unseen[:3], arch.resolution)
    assert (run_codes(model, codes) == run_codes(model, codes[::-1].copy())[::-1]).all()
    plan = plan_arena(model)
    assert plan.peak_bytes > codes[0].nbytes
    assert plan.scratch_bytes > 0
