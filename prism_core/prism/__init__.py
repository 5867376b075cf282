"""PRISM (Hu, Rostami, Thomason 2026): five stages in order, and what they leave behind."""
