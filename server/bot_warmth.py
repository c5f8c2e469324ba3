"""(placeholder while policy lands)"""
