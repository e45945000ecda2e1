"""What every figure is drawn with: colours, the frame, lines with their intervals, pictures.

Begin with ``palette`` (one meaning, one colour) and ``template`` (fonts, axes, legend, alt text)::

    checks     arrays that are handed in, checked, and made small
    bands      lines with an interval around them
    images     arrays to PNG; signed images; montages
    strip      labelled pictures side by side, a figure of its own
"""
