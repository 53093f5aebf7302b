"""OpenAI's own client for Python, pointed at Archon. It finds address and key in the environment by itself:

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    OPENAI_BASE_URL=http://localhost:8080/v1 OPENAI_API_KEY=ak_… .venv/bin/python chat.py
"""

import sys

import openai

client = openai.OpenAI()
messages = [{"role": "user", "content": "Say hello in three languages."}]

try:
    model = client.models.list().data[0].id

    answer = client.chat.completions.create(model=model, messages=messages)
    print("plain:", answer.choices[0].message.content)
    print("tokens:", answer.usage.total_tokens)

    print("streamed: ", end="")
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
except openai.APIStatusError as error:
    print(error.status_code, error.code, file=sys.stderr)
    sys.exit(1)
