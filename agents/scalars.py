"""What is logged of an agent's measurement, by the names that TensorBoard shows; the same for all agents."""

from restore_env.evaluation import Evaluation
from restore_env.toolbox import STOP


def scalars_of(evaluation: Evaluation) -> dict[str, float]:
    """PSNR, SSIM, gain, tools applied, how often the last step is a stop, and each action's share at each step."""
    found = {
        "validation/psnr": evaluation.psnr_out,
        "validation/ssim": evaluation.ssim_out,
        "validation/gain": evaluation.gain,
        "validation/tools": evaluation.steps,
        "validation/stop_ratio": evaluation.tool_ratio[-1][STOP],
    }
    for step, ratios in enumerate(evaluation.tool_ratio, start=1):
        found |= {f"step_{step}/{name}": share for name, share in ratios.items()}
    return found
