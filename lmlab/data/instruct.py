"""The words that an instruction is put in before a model answers it; the same as chat template."""

# The headings of Stanford Alpaca, without its preamble: a small model would only repeat that.
INSTRUCTION, INPUT, RESPONSE = "### Instruction:\n", "### Input:\n", "### Response:\n"

# The same words for transformers' apply_chat_template: a user's turn ends where the answer begins.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "### Instruction:\n{{ message['content'] }}\n\n### Response:\n"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant turns were trained') }}{% endif %}"
    "{% endfor %}"
)


def render_prompt(instruction: str, given: str = "") -> str:
    """What stands before the response; `given` is what the instruction is about, if anything."""
    about = f"{INPUT}{given}\n\n" if given else ""
    return f"{INSTRUCTION}{instruction}\n\n{about}{RESPONSE}"
