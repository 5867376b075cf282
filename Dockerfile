# PRISM Studio for a machine of one's own, on its processors:
#   docker build -t prism-studio . && docker run -p 7860:7860 -v prism:/data prism-studio
# Whoever reaches the port meets a public copy's limits; see "Serving it to others" in README.md.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 prism && install -d -o prism /data /app
WORKDIR /app

# Wheels without CUDA are a tenth of the size; the index of another build can be given instead.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements.txt .
RUN grep '^torch==' requirements.txt | xargs pip install --no-cache-dir --index-url "$TORCH_INDEX" \
    && pip install --no-cache-dir -r requirements.txt

COPY --chown=prism . .
USER prism
ENV PRISM_DATA_HOME=/data/prism-studio PRISM_CACHE_DIR=/data/prism-models PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
