"""The program of a warm-up's pod: fills one replica's prefix cache and proves it. Small imports: it must start
quickly."""
