# The dashboard:
#   docker build -t ntk .
#   docker run --rm -p 127.0.0.1:8501:8501 -v ntk-results:/app/cache -v ntk-data:/data ntk      then open http://localhost:8501
#
# On Linux requirements.txt brings PyTorch with its CUDA libraries, some gigabytes. Without a GPU, PyTorch's own index of
# CPU wheels has the same version of torch and torchvision in a tenth of that: name that index in an `--index-url` of a
# `pip install` of those two lines of requirements.txt, above the line that installs the rest.
FROM python:3.11-slim

# What torch and numba need of the system: the compiler's run time.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .

RUN useradd --create-home ntk && mkdir -p cache /data && chown -R ntk cache /data ntkcore
USER ntk
ENV NTK_DATA=/data
EXPOSE 8501
# The app listens on the loopback address by its settings; in a container the port is published by whoever starts it.
CMD ["python", "-m", "pages.ui.serve", "--server.address", "0.0.0.0", "--server.port", "8501"]
