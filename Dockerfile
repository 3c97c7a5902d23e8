# The demo: docker build -t compress . && docker run --rm -v "$PWD/outputs:/app/outputs" compress
# A CPU build of torch is a tenth of the size: --build-arg PIP_OPTIONS="--index-url …" names where
# pip finds one.
FROM python:3.12-slim
ARG PIP_OPTIONS=""
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir $PIP_OPTIONS --constraint constraints.txt \
    --editable '.[offline,onnxruntime,openvino]'
ENTRYPOINT ["python", "run.py"]
CMD ["-m", "+experiment=demo"]
